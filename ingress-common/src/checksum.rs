//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A [`Sum`] adds 16-bit words as they lie in memory. One's-complement addition does not care about byte
//! order as long as it is one order throughout, so nothing is swapped: the words go in as they are, and the
//! result is stored as it is. This is also the form that the kernel's checksum helpers take and give.

/// A running one's-complement sum of 16-bit words in memory order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u32);

impl Sum {
    /// Adds two octets at an even offset.
    #[inline(always)]
    #[must_use]
    pub const fn add2(self, octets: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(octets) as u32)
    }

    /// Takes two octets out again: adds their complement.
    #[inline(always)]
    #[must_use]
    pub const fn sub2(self, octets: [u8; 2]) -> Self {
        Self(self.0 + !u16::from_ne_bytes(octets) as u32)
    }

    /// Adds four octets.
    #[inline(always)]
    #[must_use]
    pub const fn add4(self, [a, b, c, d]: [u8; 4]) -> Self {
        self.add2([a, b]).add2([c, d])
    }

    /// Takes four octets out.
    #[inline(always)]
    #[must_use]
    pub const fn sub4(self, [a, b, c, d]: [u8; 4]) -> Self {
        self.sub2([a, b]).sub2([c, d])
    }

    /// Adds an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn add16(self, o: &[u8; 16]) -> Self {
        self.add4([o[0], o[1], o[2], o[3]])
            .add4([o[4], o[5], o[6], o[7]])
            .add4([o[8], o[9], o[10], o[11]])
            .add4([o[12], o[13], o[14], o[15]])
    }

    /// Adds any run of octets that starts at an even offset; a last odd octet is padded with zero.
    #[must_use]
    pub fn run(mut self, octets: &[u8]) -> Self {
        let mut words = octets.chunks_exact(2);
        for word in &mut words {
            self = Self(u32::from(self.add2([word[0], word[1]]).fold()));
        }
        match words.remainder() {
            [last] => self.add2([*last, 0]),
            _ => self,
        }
    }

    /// The two sums together; `other` is folded first, so neither overflows.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.fold() as u32 + other.fold() as u32)
    }

    /// The same sum for octets that stood at an odd offset: RFC 1071 §2 (B), the two octets swapped.
    #[inline(always)]
    #[must_use]
    pub const fn at_odd_offset(self) -> Self {
        Self(self.fold().swap_bytes() as u32)
    }

    /// The sum in 16 bits.
    #[inline(always)]
    #[must_use]
    pub const fn fold(self) -> u16 {
        let once = (self.0 & 0xffff) + (self.0 >> 16);
        ((once & 0xffff) + (once >> 16)) as u16
    }

    /// The checksum to store: the complement of the sum, in memory order.
    #[inline(always)]
    #[must_use]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// A stored checksum after the words that this difference describes have changed (RFC 1624, eqn. 3).
    #[inline(always)]
    #[must_use]
    pub const fn update(self, stored: [u8; 2]) -> [u8; 2] {
        Self(!u16::from_ne_bytes(stored) as u32 + self.fold() as u32).checksum()
    }
}

/// The pseudo-header of TCP over IPv4 (RFC 9293 §3.1); `len` counts header and data.
#[must_use]
pub fn pseudo_v4(source: [u8; 4], destination: [u8; 4], protocol: u8, len: u16) -> Sum {
    Sum::default().add4(source).add4(destination).add2([0, protocol]).add2(len.to_be_bytes())
}

/// The pseudo-header over IPv6 (RFC 8200 §8.1).
#[must_use]
pub fn pseudo_v6(source: &[u8; 16], destination: &[u8; 16], protocol: u8, len: u16) -> Sum {
    Sum::default().add16(source).add16(destination).add2([0, protocol]).add2(len.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 written down as slowly as it reads, in big-endian words.
    fn reference(octets: &[u8]) -> [u8; 2] {
        let mut sum = 0u64;
        for pair in octets.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    proptest! {
        #[test]
        fn full_sum_is_rfc_1071(octets in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::default().run(&octets).checksum(), reference(&octets));
        }

        #[test]
        fn update_equals_recomputing(
            mut octets in proptest::collection::vec(any::<u8>(), 64..200),
            at in 0usize..50,
            new: [u8; 4],
        ) {
            // The receiver's test is on the folded sum, for which 0x0000 and 0xffff are one value.
            let canonical = |c: [u8; 2]| if c == [0xff, 0xff] { [0, 0] } else { c };
            let before = reference(&octets);
            let mut old = [0; 4];
            old.copy_from_slice(&octets[at..at + 4]);
            let mut change = Sum::default().sub4(old).add4(new);
            if at % 2 == 1 {
                change = change.at_odd_offset();
            }
            octets[at..at + 4].copy_from_slice(&new);
            prop_assert_eq!(canonical(change.update(before)), canonical(reference(&octets)));
        }
    }
}
