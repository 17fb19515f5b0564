//! TCP header facts shared by the programs and the daemon (RFC 9293, 7323, 2018).
//!
//! Numbers are in host order here; wire order is the business of whoever reads or writes the packet.

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
