//! Where options stand in a header, found the way a program can: in a buffer of fixed size, in bounded steps.

use super::{MAX_OPTIONS_LEN, MAX_WINDOW_SCALE, SynOptions, Timestamps};
use crate::checksum::Sum;
use crate::verifier::{forget, opaque};

/// Octets of a buffer for an option area; a power of two, so that a masked index is always inside and the verifier sees
/// it.
pub const OPTION_BUFFER_LEN: usize = 64;
/// Mask for indices into that buffer.
pub const OPTION_MASK: usize = OPTION_BUFFER_LEN - 1;

/// Where the values of the well-formed options stand that somebody here reads or changes; the first of each
/// kind. One octet for each, all in one number, so that one [`forget`] covers them; zero where there is none,
/// for no value stands at the very beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places(u64);

const MSS: u32 = 0;
const SCALE: u32 = 8;
const SACK_PERMITTED: u32 = 16;
const TIMESTAMPS: u32 = 24;
const SACK: u32 = 32;
const SACK_LEN: u32 = 40;

impl Places {
    /// To be sought: MSS.
    pub const WITH_MSS: u32 = 1;
    /// To be sought: window scale and SACK-permitted.
    pub const WITH_SCALE_AND_PERMISSION: u32 = 2;
    /// To be sought: SACK.
    pub const WITH_SACK: u32 = 4;
    /// To be sought: timestamps.
    pub const WITH_TIMESTAMPS: u32 = 8;
    /// To be sought: what a SYN has.
    pub const OF_SYN: u32 =
        Self::WITH_MSS | Self::WITH_SCALE_AND_PERMISSION | Self::WITH_TIMESTAMPS;

    /// Walks the first `len` octets of `options` for the kinds in `SOUGHT`, each of which is another way for the
    /// verifier to follow. Ends at the first malformed option.
    #[inline(always)]
    #[must_use]
    pub fn find<const SOUGHT: u32>(options: &[u8; OPTION_BUFFER_LEN], len: usize) -> Self {
        let mut found = Self(0);
        let mut at = 0;
        let mut steps = 0;
        // Each round takes two octets at least: two NOPs, or an option with perhaps a NOP before it.
        while steps < MAX_OPTIONS_LEN / 2 {
            steps += 1;
            // An octet of salt for each octet of `found`.
            let salt = octet(options, at) as u64 * 0x0101_0101_0101_0101;
            at = forget(at as u64, salt & 0xff) as usize;
            found = Self(forget(found.0, salt));
            if at + 1 >= len {
                break;
            }
            let mut kind = octet(options, at);
            if kind == 1 {
                at += 1;
                kind = octet(options, at);
                if kind == 1 {
                    at += 1;
                    continue;
                }
                if at + 1 >= len {
                    break;
                }
            }
            if kind == 0 {
                break;
            }
            let option_len = octet(options, at + 1) as usize;
            if option_len < 2 || at + option_len > len {
                break;
            }
            found = match kind {
                2 if SOUGHT & Self::WITH_MSS != 0 && option_len == 4 => found.with(MSS, at + 2),
                3 if SOUGHT & Self::WITH_SCALE_AND_PERMISSION != 0 && option_len == 3 => {
                    found.with(SCALE, at + 2)
                }
                4 if SOUGHT & Self::WITH_SCALE_AND_PERMISSION != 0 && option_len == 2 => {
                    found.with(SACK_PERMITTED, at + 2)
                }
                5 if SOUGHT & Self::WITH_SACK != 0 && option_len % 8 == 2 && option_len > 2 => {
                    found.with_sack(at + 2, option_len - 2)
                }
                8 if SOUGHT & Self::WITH_TIMESTAMPS != 0 && option_len == 10 => {
                    found.with(TIMESTAMPS, at + 2)
                }
                _ => found,
            };
            at += option_len;
        }
        found
    }

    /// Where the value of the timestamps option stands, TSval first.
    #[inline(always)]
    #[must_use]
    pub const fn timestamps(self) -> Option<usize> {
        self.get(TIMESTAMPS)
    }

    /// Where the edges of the SACK option stand, and how many octets they are.
    #[inline(always)]
    #[must_use]
    pub const fn sack(self) -> Option<(usize, usize)> {
        match self.get(SACK) {
            Some(at) => Some((at, (self.0 >> SACK_LEN) as usize & 0xff)),
            None => None,
        }
    }

    /// The options of a SYN.
    #[inline(always)]
    #[must_use]
    pub const fn syn_options(self, options: &[u8; OPTION_BUFFER_LEN]) -> SynOptions {
        SynOptions {
            mss: match self.get(MSS) {
                Some(at) => Some(u16::from_be_bytes([
                    options[at & OPTION_MASK],
                    options[(at + 1) & OPTION_MASK],
                ])),
                None => None,
            },
            window_scale: match self.get(SCALE) {
                Some(at) if options[at & OPTION_MASK] > MAX_WINDOW_SCALE => Some(MAX_WINDOW_SCALE),
                Some(at) => Some(options[at & OPTION_MASK]),
                None => None,
            },
            sack_permitted: self.get(SACK_PERMITTED).is_some(),
        }
    }

    /// The values of the timestamps option.
    #[inline(always)]
    #[must_use]
    pub const fn read_timestamps(self, options: &[u8; OPTION_BUFFER_LEN]) -> Option<Timestamps> {
        match self.timestamps() {
            Some(at) => Some(Timestamps {
                value: u32::from_be_bytes(four(options, at)),
                echo: u32::from_be_bytes(four(options, at + 4)),
            }),
            None => None,
        }
    }

    #[inline(always)]
    const fn with(self, slot: u32, at: usize) -> Self {
        if self.0 >> slot & 0xff == 0 { Self(self.0 | (at as u64 & 0xff) << slot) } else { self }
    }

    #[inline(always)]
    const fn with_sack(self, at: usize, len: usize) -> Self {
        match self.get(SACK) {
            Some(_) => self,
            None => self.with(SACK, at).with(SACK_LEN, len),
        }
    }

    #[inline(always)]
    const fn get(self, slot: u32) -> Option<usize> {
        match (self.0 >> slot) as usize & 0xff {
            0 => None,
            at => Some(at),
        }
    }
}

/// One octet of the buffer. The index is masked anew each time: a masked one that the compiler keeps on the stack
/// comes back to an older verifier without its bounds.
#[inline(always)]
fn octet(options: &[u8; OPTION_BUFFER_LEN], at: usize) -> u8 {
    options[opaque(at as u64) as usize & OPTION_MASK]
}

/// Four octets of the buffer.
#[inline(always)]
pub(crate) const fn four(options: &[u8; OPTION_BUFFER_LEN], at: usize) -> [u8; 4] {
    [
        options[at & OPTION_MASK],
        options[(at + 1) & OPTION_MASK],
        options[(at + 2) & OPTION_MASK],
        options[(at + 3) & OPTION_MASK],
    ]
}

/// Stores four octets in the buffer.
#[inline(always)]
pub(crate) const fn put(options: &mut [u8; OPTION_BUFFER_LEN], at: usize, [a, b, c, d]: [u8; 4]) {
    options[at & OPTION_MASK] = a;
    options[(at + 1) & OPTION_MASK] = b;
    options[(at + 2) & OPTION_MASK] = c;
    options[(at + 3) & OPTION_MASK] = d;
}

/// Lowers the MSS option of a SYN to `limit` octets. Returns where its value stands, the value to store and
/// by how much the TCP checksum changes; `None` where nothing has to change.
#[inline(always)]
#[must_use]
pub fn clamp_mss(
    options: &[u8; OPTION_BUFFER_LEN],
    len: usize,
    limit: u16,
) -> Option<(usize, [u8; 2], Sum)> {
    let at = Places::find::<{ Places::WITH_MSS }>(options, len).get(MSS)?;
    let old = [options[at & OPTION_MASK], options[(at + 1) & OPTION_MASK]];
    if u16::from_be_bytes(old) <= limit {
        return None;
    }
    let new = limit.to_be_bytes();
    let change = Sum(0).sub2(old).add2(new);
    Some((at, new, if at & 1 == 1 { change.at_odd_offset() } else { change }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{Options, TcpOption};
    use proptest::prelude::*;

    const ALL: u32 = Places::OF_SYN | Places::WITH_SACK;

    fn room(area: &[u8]) -> [u8; OPTION_BUFFER_LEN] {
        let mut room = [0; OPTION_BUFFER_LEN];
        room[..area.len()].copy_from_slice(area);
        room
    }

    proptest! {
        /// Octets below ten make many options, and many malformed ones.
        #[test]
        fn the_two_readers_agree(area in proptest::collection::vec(0u8..11, 0..=40)) {
            let room = room(&area);
            let places = Places::find::<ALL>(&room, area.len());
            prop_assert_eq!(places.syn_options(&room), SynOptions::parse(&area));
            prop_assert_eq!(places.read_timestamps(&room), Timestamps::parse(&area));
            let edges = places.sack().map(|(at, len)| &area[at..at + len]);
            let first = Options(&area).find_map(|option| match option {
                TcpOption::Sack(edges) => Some(edges),
                TcpOption::Mss(_)
                | TcpOption::WindowScale(_)
                | TcpOption::SackPermitted
                | TcpOption::Timestamps(_)
                | TcpOption::Other(_) => None,
            });
            prop_assert_eq!(edges, first);
        }

        #[test]
        fn nothing_is_found_outside(area: [u8; 40], len in 0usize..=40) {
            let places = Places::find::<ALL>(&room(&area), len);
            prop_assert!(places.timestamps().is_none_or(|at| at + 8 <= len));
            prop_assert!(places.sack().is_none_or(|(at, edges)| at + edges <= len));
        }

        #[test]
        fn clamping_lowers_and_keeps_the_checksum(
            mss: u16, limit in 500u16..1500, nops in 0usize..4,
        ) {
            let mut area = vec![1; nops];
            let [a, b] = mss.to_be_bytes();
            area.extend([2, 4, a, b]);
            let mut room = room(&area);
            match clamp_mss(&room, area.len(), limit) {
                None => prop_assert!(mss <= limit),
                Some((at, value, change)) => {
                    let before = Sum::default().run(&room).checksum();
                    room[at..at + 2].copy_from_slice(&value);
                    prop_assert_eq!(SynOptions::parse(&room[..area.len()]).mss, Some(limit));
                    prop_assert_eq!(change.update(before), Sum::default().run(&room).checksum());
                }
            }
        }
    }
}
