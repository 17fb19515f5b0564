//! The guard against storms: two ends whose ideas of the numbers disagree answer each other's acknowledgments for
//! ever, unless they throttle that (RFC 5961 §7).
//!
//! What tells a storm from all that looks like it: it goes back and forth, and goes on. Duplicate acknowledgments of a
//! transfer with losses all come from one side; where both sides lose, they stop when all is there that was on the way.
//! Keepalives and window probes go back and forth slowly; and whatever makes progress changes a number or a window.

use crate::tcp::Flags;

/// An acknowledgment that comes later than this after the other end's is no answer to it, in nanoseconds.
const PROMPT: u64 = 250_000_000;
/// How many answers in a row make a storm, if they also go on for [`LASTING`].
const STORM: u16 = 128;
/// How long answers must go on to be a storm, in milliseconds. Those to what both ends have on the way end sooner.
const LASTING: u32 = 2000;

/// Which end sent an acknowledgment.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client.
    Client = 0,
    /// The backend.
    Backend = 1,
}

/// What an acknowledgment without data says, as it stands in the header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bare {
    /// Sequence number.
    pub seq: [u8; 4],
    /// Acknowledgment number.
    pub ack: [u8; 4],
    /// Window.
    pub window: [u8; 2],
    reserved: [u8; 2],
}

/// Value in `STORMS`: the last acknowledgments of a flow, and for how long they have been repeated in turns.
/// Flows share slots by chance, and two CPUs may write one at the same time; both only make the guard miss.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// The last acknowledgment of each end, by [`End`].
    pub last: [Bare; 2],
    /// When one was last repeated, in nanoseconds since boot.
    pub repeated: u64,
    /// When they began to be repeated, in milliseconds since boot, modulo 2^32.
    pub since: u32,
    /// The [`End`] that last repeated one.
    pub by: u16,
    /// How often in a row the other end was prompt, up to a storm's worth.
    pub answers: u16,
}

/// Slots of `STORMS`: as many as this number of bits tells apart.
pub const SLOTS: u32 = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 12;

/// The slot of a flow, by its client's address and the two ports.
#[inline(always)]
#[must_use]
pub const fn slot(client: [u8; 4], client_port: [u8; 2], listen_port: [u8; 2]) -> u32 {
    let ports =
        (u16::from_be_bytes(client_port) as u32) << 16 | u16::from_be_bytes(listen_port) as u32;
    let mixed = (u32::from_be_bytes(client) ^ ports.rotate_left(7)).wrapping_mul(0x9e37_79b1);
    mixed >> (u32::BITS - SLOT_BITS)
}

/// Whether a segment is one that can be part of a storm: an acknowledgment and nothing else. SACK tells something
/// new each time.
#[inline(always)]
#[must_use]
pub const fn is_bare(flags: Flags, payload: u32, options: usize, timestamps: bool) -> bool {
    let usual = if timestamps { crate::tcp::Timestamps::LEN } else { 0 };
    flags.0 == Flags::ACK.0 && payload == 0 && options == usual
}

impl Bare {
    /// An acknowledgment with these fields.
    #[inline(always)]
    #[must_use]
    pub const fn new(seq: [u8; 4], ack: [u8; 4], window: [u8; 2]) -> Self {
        Self { seq, ack, window, reserved: [0; 2] }
    }
}

impl Turns {
    /// Whether an acknowledgment may go on. The clock is looked at only for one that repeats the last.
    #[inline(always)]
    pub fn pass(&mut self, end: End, bare: Bare, clock: impl FnOnce() -> u64) -> bool {
        let last = &mut self.last[end as usize & 1];
        if *last != bare {
            *last = bare;
            self.answers = 0;
            return true;
        }
        let now = clock();
        let millis = (now / 1_000_000) as u32;
        let prompt = now.saturating_sub(self.repeated) <= PROMPT;
        if !prompt {
            self.answers = 0;
        }
        if self.answers == 0 {
            self.since = millis;
        } else if self.answers >= STORM && millis.wrapping_sub(self.since) >= LASTING {
            // `repeated` stands, so this ends after `PROMPT`: what was in flight is gone then.
            return false;
        }
        if prompt && self.by != end as u16 {
            self.answers = (self.answers + 1).min(STORM);
        }
        self.by = end as u16;
        self.repeated = now;
        true
    }
}

const _: () = {
    assert!(size_of::<Bare>() == 12);
    assert!(size_of::<Turns>() == 40);
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLI: u64 = 1_000_000;

    fn bare(number: u32) -> Bare {
        Bare::new(number.to_be_bytes(), [0, 0, 0, 9], [1, 0])
    }

    /// A storm from the beginning, an answer every so many milliseconds; how many of so many pass.
    fn storm(turns: &mut Turns, begin: u64, packets: u64, each: u64) -> u64 {
        let passed = (0..packets).filter(|nth| {
            let end = if nth % 2 == 0 { End::Client } else { End::Backend };
            turns.pass(end, bare(end as u32), || begin + nth * each * MILLI)
        });
        passed.count() as u64
    }

    #[test]
    fn a_storm_dies_out_and_the_flow_lives_on() {
        // A quick one after two seconds, a slow one after 128 answers; the first two only begin it.
        for (each, passes) in [(1, 2000), (10, 200), (50, 128)] {
            let mut turns = Turns::default();
            let passed = storm(&mut turns, 1000 * MILLI, passes + 240 / each, each);
            assert!((passes..passes + 5).contains(&passed), "{passed} at {each}");
            // An acknowledgment of something else ends it, and so does silence.
            assert!(turns.pass(End::Client, bare(7), || 0));
            let now = turns.repeated + PROMPT + 1;
            assert_eq!(storm(&mut turns, now, 10, each), 10);
        }
    }

    #[test]
    fn silence_ends_it() {
        let mut turns = Turns::default();
        storm(&mut turns, 1000 * MILLI, 2100, 1);
        let now = turns.repeated + PROMPT;
        assert!(!turns.pass(End::Client, bare(0), || now));
        assert!(turns.pass(End::Client, bare(0), || now + 1));
        assert!(turns.pass(End::Backend, bare(1), || now + 2));
    }

    /// Losses without SACK on both sides at once, each with its largest window on the way.
    #[test]
    fn duplicates_of_both_sides_pass_while_they_come() {
        let mut turns = Turns::default();
        assert_eq!(storm(&mut turns, 1000 * MILLI, 1999, 1), 1999);
        let mut turns = Turns::default();
        for nth in 0..30_000 {
            let end = if nth % 2 == 0 { End::Client } else { End::Backend };
            assert!(turns.pass(end, bare(end as u32), || 1000 * MILLI + nth * MILLI / 20));
        }
    }

    #[test]
    fn the_clock_may_pass_its_end() {
        let mut turns = Turns::default();
        let begin = ((1 << 32) - 1000) * MILLI;
        assert!((2000..2005).contains(&storm(&mut turns, begin, 2200, 1)));
    }

    /// A window's worth of losses without SACK, while the other end repeats its data.
    #[test]
    fn duplicates_of_one_side_all_pass() {
        let mut turns = Turns::default();
        for nth in 0..100_000 {
            assert!(turns.pass(End::Client, bare(1), || nth * 1000));
        }
    }

    /// Keepalives, probes of a closed window, and challenges as throttled ends send them.
    #[test]
    fn slow_turns_all_pass() {
        let mut turns = Turns::default();
        for nth in 0..10_000 {
            let now = nth * 300 * MILLI;
            assert!(turns.pass(End::Client, bare(1), || now));
            assert!(turns.pass(End::Backend, bare(2), || now + MILLI));
        }
    }

    #[test]
    fn only_bare_acknowledgments_are_looked_at() {
        assert!(is_bare(Flags::ACK, 0, 0, false) && is_bare(Flags::ACK, 0, 12, true));
        // Data, SACK with and without timestamps, other flags.
        assert!(!is_bare(Flags::ACK, 1, 0, false));
        assert!(!is_bare(Flags::ACK, 0, 12, false) && !is_bare(Flags::ACK, 0, 24, true));
        for other in [Flags::SYN, Flags::FIN, Flags::RST, Flags::PSH] {
            assert!(!is_bare(Flags::ACK.with(other), 0, 0, false));
        }
    }

    proptest! {
        /// Two ends that both make progress, in whatever order.
        #[test]
        fn progress_always_passes(steps in proptest::collection::vec((any::<bool>(), 0u32..4), 0..2000)) {
            let mut turns = Turns::default();
            let (mut numbers, mut now, mut still) = ([0u32; 2], MILLI, 0);
            for (client, more) in steps {
                let end = if client { End::Client } else { End::Backend };
                still = if more == 0 { still + 1 } else { 0 };
                numbers[end as usize] = numbers[end as usize].wrapping_add(more);
                now += 1000;
                let passes = turns.pass(end, bare(numbers[end as usize]), || now);
                prop_assert!(passes || still >= STORM);
            }
        }
    }
}
