//! TCP header facts shared by the programs and the daemon (RFC 9293, 7323, 2018).
//!
//! Numbers are in host order here; wire order is the business of whoever reads or writes the packet.

use crate::checksum::Sum;
use crate::verifier::forget;

/// Length of a TCP header without options, in bytes.
pub const HEADER_LEN: usize = 20;
/// The most bytes that options can take: data offset 15 words, less the fixed header.
pub const MAX_OPTIONS_LEN: usize = 40;
/// The largest window scale that RFC 7323 §2.3 allows.
pub const MAX_WINDOW_SCALE: u8 = 14;
/// The MSS a peer means when it sends no MSS option, over IPv4 (RFC 9293 §3.7.1).
pub const DEFAULT_MSS: u16 = 536;

/// A sequence number. Ordering is circular, so the type has no `Ord`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u32);

impl Seq {
    /// The number `octets` later.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }

    /// The number `octets` earlier.
    #[inline(always)]
    #[must_use]
    pub const fn minus(self, octets: u32) -> Self {
        Self(self.0.wrapping_sub(octets))
    }

    /// Octets from `earlier` to `self`, negative where `self` is in fact the earlier one.
    #[inline(always)]
    #[must_use]
    pub const fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }

    /// Whether `self` comes before `other` on the circle.
    #[inline(always)]
    #[must_use]
    pub const fn before(self, other: Self) -> bool {
        self.since(other) < 0
    }

    /// The later of the two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }
}

/// The flag octet of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push function.
    pub const PSH: Self = Self(0x08);
    /// Acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);

    /// Whether every flag of `other` is set.
    #[inline(always)]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set.
    #[inline(always)]
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flags of both.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The options of a SYN or SYN-ACK that this system knows. Everything else is never echoed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    /// Maximum segment size, in octets (kind 2).
    pub mss: Option<u16>,
    /// Window scale shift (kind 3), at most [`MAX_WINDOW_SCALE`].
    pub window_scale: Option<u8>,
    /// SACK permitted (kind 4).
    pub sack_permitted: bool,
}

/// One option of a header, as [`Options`] yields it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Kind 2, octets.
    Mss(u16),
    /// Kind 3, shift as sent (may exceed 14).
    WindowScale(u8),
    /// Kind 4.
    SackPermitted,
    /// Kind 5: the edges as they stand on the wire, eight octets a block.
    Sack(&'a [u8]),
    /// Kind 8: TSval, TSecr.
    Timestamps(u32, u32),
    /// A well-formed option of another kind.
    Other(u8),
}

/// Walks an option area. Ends at an End-of-Option-List, at the end, or at the first malformed option.
#[derive(Clone, Debug)]
pub struct Options<'a>(pub &'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = TcpOption<'a>;

    fn next(&mut self) -> Option<TcpOption<'a>> {
        loop {
            match *self.0 {
                [1, ref rest @ ..] => self.0 = rest,
                [0, ..] | [] | [_] => return None,
                [kind, len, ..] => {
                    let len = usize::from(len);
                    if len < 2 || len > self.0.len() {
                        return None;
                    }
                    let (option, rest) = self.0.split_at(len);
                    self.0 = rest;
                    return Some(match (kind, &option[2..]) {
                        (2, &[a, b]) => TcpOption::Mss(u16::from_be_bytes([a, b])),
                        (3, &[shift]) => TcpOption::WindowScale(shift),
                        (4, &[]) => TcpOption::SackPermitted,
                        (5, edges) if !edges.is_empty() && edges.len() % 8 == 0 => {
                            TcpOption::Sack(edges)
                        }
                        (8, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps(
                            u32::from_be_bytes([a, b, c, d]),
                            u32::from_be_bytes([e, f, g, h]),
                        ),
                        (other, _) => TcpOption::Other(other),
                    });
                }
            }
        }
    }
}

impl SynOptions {
    /// Reads the options of a SYN or SYN-ACK; the first of each kind counts.
    #[must_use]
    pub fn parse(area: &[u8]) -> Self {
        let mut found = Self::default();
        for option in Options(area) {
            match option {
                TcpOption::Mss(mss) if found.mss.is_none() => found.mss = Some(mss),
                TcpOption::WindowScale(shift) if found.window_scale.is_none() => {
                    found.window_scale = Some(shift.min(MAX_WINDOW_SCALE));
                }
                TcpOption::SackPermitted => found.sack_permitted = true,
                TcpOption::Mss(_)
                | TcpOption::WindowScale(_)
                | TcpOption::Sack(_)
                | TcpOption::Timestamps(..)
                | TcpOption::Other(_) => {}
            }
        }
        found
    }

    /// All of it in one number.
    #[inline(always)]
    #[must_use]
    pub const fn pack(&self) -> u64 {
        let mss = match self.mss {
            Some(mss) => 1 << 16 | mss as u64,
            None => 0,
        };
        let scale = match self.window_scale {
            Some(shift) => 1 << 8 | shift as u64,
            None => 0,
        };
        (self.sack_permitted as u64) << 48 | scale << 32 | mss
    }

    /// What [`Self::pack`] packed.
    #[inline(always)]
    #[must_use]
    pub const fn unpack(packed: u64) -> Self {
        Self {
            mss: if packed >> 16 & 1 != 0 { Some(packed as u16) } else { None },
            window_scale: if packed >> 40 & 1 != 0 {
                Some((packed >> 32) as u8 & 0xf)
            } else {
                None
            },
            sack_permitted: packed >> 48 & 1 != 0,
        }
    }

    /// The options as they go on the wire, padded with NOPs to words; returns the octets used.
    #[inline(always)]
    pub fn emit(&self, area: &mut [u8; 12]) -> usize {
        let mut used = 0;
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            area[0] = 2;
            area[1] = 4;
            area[2] = a;
            area[3] = b;
            used = 4;
        }
        if self.sack_permitted {
            area[used] = 1;
            area[used + 1] = 1;
            area[used + 2] = 4;
            area[used + 3] = 2;
            used += 4;
        }
        if let Some(shift) = self.window_scale {
            area[used] = 1;
            area[used + 1] = 3;
            area[used + 2] = 3;
            area[used + 3] = shift;
            used += 4;
        }
        used
    }
}

/// Room for an option area; a power of two, so that a masked index is always inside and the verifier sees it.
pub const OPTION_ROOM: usize = 64;
/// Mask for indices into that room.
pub const OPTION_MASK: usize = OPTION_ROOM - 1;

/// Where the value of the first option of `kind` stands in the first `len` octets of `options`, and its
/// length in octets. Ends at the first malformed option.
#[inline(always)]
#[must_use]
pub fn find_option(options: &[u8; OPTION_ROOM], len: usize, kind: u8) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut steps = 0;
    while steps < MAX_OPTIONS_LEN {
        steps += 1;
        at = forget(at as u64, options[at & OPTION_MASK] as u64) as usize;
        if at + 1 >= len {
            return None;
        }
        let here = options[at & OPTION_MASK];
        if here == 0 {
            return None;
        }
        if here == 1 {
            at += 1;
            continue;
        }
        let option_len = options[(at + 1) & OPTION_MASK] as usize;
        if option_len < 2 || at + option_len > len {
            return None;
        }
        if here == kind {
            return Some((at + 2, option_len - 2));
        }
        at += option_len;
    }
    None
}

/// Lowers the MSS option of a SYN to `limit` octets. Returns where its value stands, the value to store and
/// by how much the TCP checksum changes; `None` where nothing has to change.
#[inline(always)]
#[must_use]
pub fn clamp_mss(
    options: &[u8; OPTION_ROOM],
    len: usize,
    limit: u16,
) -> Option<(usize, [u8; 2], Sum)> {
    let (at, value_len) = find_option(options, len, 2)?;
    let old = [options[at & OPTION_MASK], options[(at + 1) & OPTION_MASK]];
    if value_len != 2 || u16::from_be_bytes(old) <= limit {
        return None;
    }
    let new = limit.to_be_bytes();
    let change = Sum(0).sub2(old).add2(new);
    Some((at, new, if at & 1 == 1 { change.at_odd_offset() } else { change }))
}

/// The options of a SYN, read the way the programs can: see [`find_option`].
#[inline(always)]
#[must_use]
pub fn syn_options(options: &[u8; OPTION_ROOM], len: usize) -> SynOptions {
    let mss = match find_option(options, len, 2) {
        Some((at, 2)) => {
            Some(u16::from_be_bytes([options[at & OPTION_MASK], options[(at + 1) & OPTION_MASK]]))
        }
        Some(_) | None => None,
    };
    let window_scale = match find_option(options, len, 3) {
        Some((at, 1)) => {
            let shift = options[at & OPTION_MASK];
            Some(if shift > MAX_WINDOW_SCALE { MAX_WINDOW_SCALE } else { shift })
        }
        Some(_) | None => None,
    };
    let sack_permitted = matches!(find_option(options, len, 4), Some((_, 0)));
    SynOptions { mss, window_scale, sack_permitted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn options_never_panic_and_end(area in proptest::collection::vec(any::<u8>(), 0..=40)) {
            prop_assert!(Options(&area).count() <= 40);
            let _ = SynOptions::parse(&area);
        }

        #[test]
        fn syn_options_round_trip(
            mss in proptest::option::of(any::<u16>()),
            window_scale in proptest::option::of(0..=MAX_WINDOW_SCALE),
            sack_permitted: bool,
        ) {
            let options = SynOptions { mss, window_scale, sack_permitted };
            let mut area = [0; 12];
            let used = options.emit(&mut area);
            prop_assert_eq!(used % 4, 0);
            prop_assert_eq!(SynOptions::parse(&area[..used]), options);
            prop_assert_eq!(SynOptions::unpack(options.pack()), options);
        }

        #[test]
        fn the_two_readers_agree(area in proptest::collection::vec(0u8..10, 0..=40)) {
            let mut room = [0; OPTION_ROOM];
            room[..area.len()].copy_from_slice(&area);
            let (fast, slow) = (syn_options(&room, area.len()), SynOptions::parse(&area));
            // They may differ only where a kind occurs twice, once with a wrong length.
            let repeats = |kind| Options(&area).filter(|o| matches!((o, kind),
                (TcpOption::Other(k), kind) if *k == kind)).count() > 0;
            if !repeats(2) { prop_assert_eq!(fast.mss, slow.mss); }
            if !repeats(3) { prop_assert_eq!(fast.window_scale, slow.window_scale); }
            if !repeats(4) { prop_assert_eq!(fast.sack_permitted, slow.sack_permitted); }
        }

        #[test]
        fn clamping_lowers_and_keeps_the_checksum(
            mss: u16, limit in 500u16..1500, nops in 0usize..4,
        ) {
            let mut area = vec![1; nops];
            let [a, b] = mss.to_be_bytes();
            area.extend([2, 4, a, b]);
            let mut room = [0; OPTION_ROOM];
            room[..area.len()].copy_from_slice(&area);
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

        #[test]
        fn sequence_numbers_are_a_circle(at: u32, ahead in 1..i32::MAX as u32) {
            prop_assert!(Seq(at).before(Seq(at).plus(ahead)));
            prop_assert!(!Seq(at).plus(ahead).before(Seq(at)));
            prop_assert_eq!(Seq(at).plus(ahead).since(Seq(at)), ahead as i32);
            prop_assert_eq!(Seq(at).plus(ahead).minus(ahead), Seq(at));
        }
    }
}
