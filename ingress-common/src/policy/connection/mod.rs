//! Connections made from inside, while the policy would not let their answers in otherwise.
//!
//! What the inside sends makes an entry and keeps it; what the outside sends is let in by it and keeps nothing
//! (RFC 4787 REQ-6, RFC 6092 REC-16). A connection that stood before its entry did is taken up in the middle:
//! only the inside can do that, and only with a segment that begins nothing.

use crate::{ip::TCP, tcp::Flags};

const SECOND: u64 = 1_000_000_000;
/// How long a TCP connection lasts whose two ends have spoken, in nanoseconds (RFC 5382 REQ-5, RFC 6092 REC-35: at
/// least 2 h 4 min).
pub const ESTABLISHED: u64 = (2 * 3600 + 4 * 60 + 30) * SECOND;
/// How long a TCP connection lasts that opens or closes, in nanoseconds (RFC 5382 REQ-5, RFC 6092 REC-35: at least
/// 4 min).
pub const TRANSITORY: u64 = (4 * 60 + 10) * SECOND;
/// How long everything else than TCP lasts, in nanoseconds (RFC 4787 REQ-5, RFC 6092 REC-14).
pub const UDP_IDLE: u64 = 5 * 60 * SECOND;
/// How long after a change of rules a packet that is not TCP may still answer something that began before, in
/// nanoseconds.
pub const LINGERING: u64 = 30 * SECOND;
/// Times are written no more often than this, in nanoseconds: writing to a shared cache line is expensive, and the
/// limits are long.
pub const FRESH: u64 = SECOND;

/// The inside has sent a SYN.
const SYN: u8 = 1;
/// The outside has answered.
const ANSWERED: u8 = 1 << 1;
/// The inside has sent FIN.
const FIN_INSIDE: u8 = 1 << 2;
/// The outside has sent FIN.
const FIN_OUTSIDE: u8 = 1 << 3;
/// Somebody has sent RST, and the inside nothing since.
const RESET: u8 = 1 << 4;

/// Value in `CONNECTIONS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// When the inside last spoke, in nanoseconds since boot.
    pub last_seen: u64,
    marks: u8,
    reserved: [u8; 7],
}

const _: () = assert!(size_of::<Connection>() == 16);

/// How far a TCP connection is, by what was seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody outside has spoken.
    Opening,
    /// Both ends have spoken.
    Established,
    /// Both have ended it, or one has reset it.
    Closing,
}

impl Connection {
    /// The entry that a packet from inside makes; `None` for one that begins nothing and goes on with nothing: a
    /// reset, or the answer to a SYN.
    #[inline(always)]
    #[must_use]
    pub fn begin(protocol: u8, flags: Flags, now: u64) -> Option<Self> {
        let marks = if protocol != TCP {
            0
        } else if flags.contains(Flags::RST) || flags.contains(Flags::SYN.with(Flags::ACK)) {
            return None;
        } else if flags.contains(Flags::SYN) {
            SYN
        } else if flags.contains(Flags::FIN) {
            FIN_INSIDE
        } else {
            0
        };
        Some(Self { last_seen: now, marks, reserved: [0; 7] })
    }

    /// A packet from inside. `false` where the connection is over, and the packet would have to begin it anew.
    #[inline(always)]
    pub fn from_inside(&mut self, protocol: u8, flags: Flags, now: u64) -> bool {
        if self.is_over(protocol, now) {
            return false;
        }
        let marks = self.marks;
        let marks = if protocol != TCP {
            marks
        } else if flags.contains(Flags::RST) {
            marks | RESET
        } else if begins(flags) {
            SYN
        } else if flags.contains(Flags::FIN) {
            (marks & !RESET) | FIN_INSIDE
        } else {
            marks & !RESET
        };
        if marks != self.marks {
            self.marks = marks;
        }
        if now.wrapping_sub(self.last_seen) > FRESH {
            self.last_seen = now;
        }
        true
    }

    /// A packet from outside: whether it is an answer.
    #[inline(always)]
    pub fn answers(&mut self, protocol: u8, flags: Flags, now: u64) -> bool {
        if self.is_over(protocol, now) {
            return false;
        }
        if protocol != TCP {
            return true;
        }
        let marks = if flags.contains(Flags::RST) {
            self.marks | RESET
        } else if begins(flags) {
            // Both may open at once (RFC 6092 REC-31); nobody else opens what the inside began.
            return self.marks & (SYN | ANSWERED) == SYN;
        } else if flags.contains(Flags::FIN) {
            self.marks | ANSWERED | FIN_OUTSIDE
        } else {
            self.marks | ANSWERED
        };
        if marks != self.marks {
            self.marks = marks;
        }
        true
    }

    /// Whether its time has run out.
    #[inline(always)]
    #[must_use]
    pub fn is_over(&self, protocol: u8, now: u64) -> bool {
        age(self.last_seen, now) > self.limit(protocol) as i64
    }

    /// How long the connection lasts after the inside last spoke, in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub fn limit(&self, protocol: u8) -> u64 {
        if protocol != TCP {
            UDP_IDLE
        } else if self.is_established() {
            ESTABLISHED
        } else {
            TRANSITORY
        }
    }

    /// How far the connection is; `None` where the protocol does not tell.
    #[must_use]
    pub fn stage(&self, protocol: u8) -> Option<Stage> {
        (protocol == TCP).then_some(if self.is_established() {
            Stage::Established
        } else if self.marks & ANSWERED == 0 && self.marks & RESET == 0 {
            Stage::Opening
        } else {
            Stage::Closing
        })
    }

    #[inline(always)]
    fn is_established(&self) -> bool {
        const BOTH: u8 = FIN_INSIDE | FIN_OUTSIDE;
        self.marks & (ANSWERED | RESET) == ANSWERED && self.marks & BOTH != BOTH
    }
}

/// Whether a packet from outside may belong to what began before the rules changed at `changed` (zero: there were none
/// before). A TCP segment without SYN may do so for hours: a host that does not know its connection refuses it; one
/// that does answers, which makes an entry.
#[inline(always)]
#[must_use]
pub fn may_have_begun_before(protocol: u8, flags: Flags, changed: u64, now: u64) -> bool {
    let limit = if protocol != TCP {
        LINGERING
    } else if begins(flags) {
        return false;
    } else {
        ESTABLISHED
    };
    changed != 0 && age(changed, now) <= limit as i64
}

/// Nanoseconds from `then` to `now`, wrapping: negative if another CPU wrote `then` after we read the clock, and right
/// for times before boot, which tests use.
#[inline(always)]
fn age(then: u64, now: u64) -> i64 {
    now.wrapping_sub(then) as i64
}

/// Whether a segment opens a connection.
#[inline(always)]
fn begins(flags: Flags) -> bool {
    flags.0 & (Flags::SYN.0 | Flags::ACK.0) == Flags::SYN.0
}

#[cfg(test)]
mod tests;
