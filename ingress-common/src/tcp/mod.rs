//! TCP header facts shared by the programs and the daemon (RFC 9293, 7323, 2018).
//!
//! Numbers are in host order here; wire order is the business of whoever reads or writes the packet.

mod options;
mod places;

pub use options::{Options, SynOptions, TcpOption, Timestamps};
pub use places::{OPTION_BUFFER_LEN, OPTION_MASK, Places, clamp_mss};
pub(crate) use places::{four, put};

use crate::ip::IPV6_LEN;

/// Length of a TCP header without options, in octets.
pub const HEADER_LEN: usize = 20;
/// Offset of the flags in a TCP header, in octets.
pub const FLAGS_OFFSET: usize = 13;
/// Offset of the checksum in a TCP header, in octets.
pub const CHECKSUM_OFFSET: usize = 16;
/// The most octets that options can take: data offset 15 words, less the fixed header.
pub const MAX_OPTIONS_LEN: usize = 40;
/// The largest window scale that RFC 7323 §2.3 allows.
pub const MAX_WINDOW_SCALE: u8 = 14;
/// The MSS a peer means when it sends no MSS option, over IPv4 (RFC 9293 §3.7.1).
pub const DEFAULT_MSS: u16 = 536;
/// The MSS a peer means when it sends no MSS option, over IPv6.
pub const DEFAULT_MSS_V6: u16 = 1220;
/// What an IPv6 and a TCP header, both without more, take of an MTU, in octets.
pub const HEADERS_V6: u32 = (IPV6_LEN + HEADER_LEN) as u32;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sequence_numbers_are_a_circle(at: u32, ahead in 1..i32::MAX as u32) {
            prop_assert!(Seq(at).before(Seq(at).plus(ahead)));
            prop_assert!(!Seq(at).plus(ahead).before(Seq(at)));
            prop_assert_eq!(Seq(at).plus(ahead).since(Seq(at)), ahead as i32);
            prop_assert_eq!(Seq(at).plus(ahead).minus(ahead), Seq(at));
        }
    }
}
