//! IPv4 addresses inside IPv6 prefixes (RFC 6052 §2.2).

use core::{fmt, net::Ipv6Addr};

/// The prefix lengths RFC 6052 §2.2 allows, in bits.
pub const PREFIX_LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// A NAT46 prefix: addresses under it stand for IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat46Prefix {
    bits: [u8; 16],
    len: u8,
}

/// Why a prefix cannot hold IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// The length is none of [`PREFIX_LENGTHS`].
    Length,
    /// A bit behind the prefix length is set.
    HostBits,
    /// Bits 64 to 71 are not zero (the "u" octet), as §2.2 demands of a /96.
    ReservedOctet,
}

impl Nat46Prefix {
    /// The prefix for whoever has none of their own (RFC 8215), as a /96.
    pub const LOCAL_USE: Self =
        Self { bits: [0, 0x64, 0xff, 0x9b, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], len: 96 };

    /// Checks a prefix against RFC 6052.
    ///
    /// # Errors
    /// As [`PrefixError`] says.
    pub fn new(bits: [u8; 16], len: u8) -> Result<Self, PrefixError> {
        if !PREFIX_LENGTHS.contains(&len) {
            return Err(PrefixError::Length);
        }
        if bits[usize::from(len / 8)..].iter().any(|&octet| octet != 0) {
            return Err(PrefixError::HostBits);
        }
        if bits[8] != 0 {
            return Err(PrefixError::ReservedOctet);
        }
        Ok(Self { bits, len })
    }

    /// The prefix's address.
    #[must_use]
    pub const fn bits(&self) -> [u8; 16] {
        self.bits
    }

    /// The prefix's length in bits.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.len
    }

    /// The IPv6 form of an IPv4 address.
    #[must_use]
    pub fn embed(&self, v4: [u8; 4]) -> [u8; 16] {
        let mut v6 = self.bits;
        for (octet, place) in v4.into_iter().zip(self.places()) {
            v6[place] = octet;
        }
        v6
    }

    /// The IPv4 address inside an IPv6 one; `None` outside the prefix. A suffix that is not zero is
    /// ignored, as §2.2 asks.
    #[must_use]
    pub fn extract(&self, v6: [u8; 16]) -> Option<[u8; 4]> {
        let fixed = usize::from(self.len / 8);
        (v6[..fixed] == self.bits[..fixed]).then(|| self.places().map(|place| v6[place]))
    }

    /// Where the four octets stand: behind the prefix, with octet 8 stepped over.
    fn places(&self) -> [usize; 4] {
        let start = usize::from(self.len / 8);
        [0, 1, 2, 3].map(|nth| {
            let place = start + nth;
            if start < 9 && place >= 8 { place + 1 } else { place }
        })
    }
}

impl fmt::Display for Nat46Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv6Addr::from(self.bits), self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn embedded(prefix: &str, len: u8) -> Ipv6Addr {
        let bits = prefix.parse::<Ipv6Addr>().unwrap().octets();
        let v4 = Ipv4Addr::new(192, 0, 2, 33).octets();
        Nat46Prefix::new(bits, len).unwrap().embed(v4).into()
    }

    /// RFC 6052 §2.4, text representation of every length.
    #[test]
    fn examples_of_the_rfc() {
        for (prefix, len, expected) in [
            ("2001:db8::", 32, "2001:db8:c000:221::"),
            ("2001:db8:100::", 40, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 48, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 56, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 64, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 96, "2001:db8:122:344::192.0.2.33"),
        ] {
            assert_eq!(embedded(prefix, len), expected.parse::<Ipv6Addr>().unwrap());
        }
    }

    #[test]
    fn refuses_what_the_rfc_refuses() {
        let mut bits = [0; 16];
        bits[0] = 0x20;
        assert_eq!(Nat46Prefix::new(bits, 95), Err(PrefixError::Length));
        bits[8] = 1;
        assert_eq!(Nat46Prefix::new(bits, 96), Err(PrefixError::ReservedOctet));
        assert_eq!(Nat46Prefix::new(bits, 64), Err(PrefixError::HostBits));
    }

    proptest! {
        #[test]
        fn extract_undoes_embed(mut bits: [u8; 16], len in 0usize..6, v4: [u8; 4]) {
            let len = PREFIX_LENGTHS[len];
            bits[usize::from(len / 8)..].fill(0);
            bits[8] = 0;
            let prefix = Nat46Prefix::new(bits, len).unwrap();
            let v6 = prefix.embed(v4);
            prop_assert_eq!(v6[8], 0);
            prop_assert_eq!(prefix.extract(v6), Some(v4));
        }
    }
}
