//! The types in the policy's maps. All integers in keys of tries are in network order, since a trie compares
//! from the first bit on; each key begins with the number of the rule set that it belongs to.

/// Entries of `TARGETS`. All three tries have room for two rule sets of half their size: the one in force, and the one
/// that takes its place.
pub const MAX_TARGETS: u32 = 1 << 14;
/// Entries of `SERVICES`.
pub const MAX_SERVICES: u32 = 1 << 16;
/// Entries of `SOURCES`.
pub const MAX_SOURCES: u32 = 1 << 17;

/// The group of services that everybody may use.
pub const EVERYBODY: u32 = 0;
/// The group under which `SOURCES` has `deny_clients` and `allow_clients`. No service has it.
pub const LISTED_CLIENTS: u32 = u32::MAX;

/// The one value in `POLICY`, in a single word, so that it changes in one piece.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings(pub u64);

impl Settings {
    const CLOSED: u64 = 1;
    const CLIENTS: u64 = 1 << 1;
    const ONLY_LISTED: u64 = 1 << 2;

    /// The rule set with this number. `closed`: IPv6 needs a rule. `clients`: there are lists of clients.
    /// `only_listed`: clients that are in none of them may not connect.
    #[must_use]
    pub const fn new(set: u32, closed: bool, clients: bool, only_listed: bool) -> Self {
        let mut word = (set as u64) << 32;
        if closed {
            word |= Self::CLOSED;
        }
        if clients {
            word |= Self::CLIENTS;
        }
        if only_listed {
            word |= Self::ONLY_LISTED;
        }
        Self(word)
    }

    /// Whether everything passes, and nothing needs to be looked up.
    #[inline(always)]
    #[must_use]
    pub const fn is_open(self) -> bool {
        self.0 & (Self::CLOSED | Self::CLIENTS) == 0
    }

    /// Whether IPv6 from outside needs a rule.
    #[inline(always)]
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.0 & Self::CLOSED != 0
    }

    /// Whether clients are looked up.
    #[inline(always)]
    #[must_use]
    pub const fn lists_clients(self) -> bool {
        self.0 & Self::CLIENTS != 0
    }

    /// Whether a client that is in no list may connect.
    #[inline(always)]
    #[must_use]
    pub const fn admits_unlisted(self) -> bool {
        self.0 & Self::ONLY_LISTED == 0
    }

    /// The rule set in force; zero where there never was one.
    #[inline(always)]
    #[must_use]
    pub const fn set(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Key in `TARGETS`: an address inside a site. The value is the number of the services that may be used there.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The rule set.
    pub set: [u8; 4],
    /// The address.
    pub address: [u8; 16],
}

/// Key in `SERVICES`: a protocol and port. The value is the group of those who may use it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// The rule set.
    pub set: [u8; 4],
    /// The value found in `TARGETS`.
    pub services: [u8; 4],
    /// The protocol that the last header names, be that the IPv6 header or an extension header.
    pub protocol: u8,
    /// Zero where the protocol has none.
    pub port: [u8; 2],
}

/// Key in `SOURCES`: an address in a group. The value is one where it may, zero where it may not.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The rule set.
    pub set: [u8; 4],
    /// The value found in `SERVICES`, or [`LISTED_CLIENTS`].
    pub group: [u8; 4],
    /// The address outside; IPv4 as [`mapped`].
    pub address: [u8; 16],
}

impl Place {
    /// Bits before the address.
    pub const HEAD: u32 = 32;
    /// All bits.
    pub const BITS: u32 = Self::HEAD + 128;
}

impl Service {
    /// Bits before the protocol.
    pub const HEAD: u32 = 64;
    /// All bits.
    pub const BITS: u32 = Self::HEAD + 24;
}

impl Source {
    /// Bits before the address.
    pub const HEAD: u32 = 64;
    /// All bits.
    pub const BITS: u32 = Self::HEAD + 128;
}

/// An IPv4 address among IPv6 ones (RFC 4291 §2.5.5.2).
#[inline(always)]
#[must_use]
pub const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Key in `CONNECTIONS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// The address inside a site.
    pub inside: [u8; 16],
    /// The address in the world.
    pub outside: [u8; 16],
    /// The port inside; zero where the protocol has none.
    pub inside_port: [u8; 2],
    /// The port outside; zero where the protocol has none.
    pub outside_port: [u8; 2],
    /// The protocol.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Key in `FRAGMENTS`: a packet from outside whose first piece was let in. The value is when.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// The sender.
    pub source: [u8; 16],
    /// The receiver.
    pub destination: [u8; 16],
    /// The packet's identification.
    pub id: [u8; 4],
}

const _: () = {
    assert!(size_of::<Settings>() == 8);
    assert!(size_of::<Place>() == 20);
    assert!(size_of::<Service>() == 11);
    assert!(size_of::<Source>() == 24);
    assert!(size_of::<ConnectionKey>() == 40);
    assert!(size_of::<FragmentKey>() == 36);
};

#[cfg(feature = "user")]
mod pod {
    use super::{ConnectionKey, FragmentKey, Place, Service, Settings, Source};
    use crate::policy::Connection;

    macro_rules! pod {
        ($($type:ty),+) => { $(
            // SAFETY: as for the types in `maps`: integers and octet arrays without padding, valid for any bit
            // pattern.
            unsafe impl aya::Pod for $type {}
        )+ };
    }
    pod!(Settings, Place, Service, Source, ConnectionKey, FragmentKey, Connection);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn settings_keep_what_they_are_told(set: u32, closed: bool, clients: bool, only: bool) {
            let settings = Settings::new(set, closed, clients, only);
            prop_assert_eq!(settings.set(), set);
            prop_assert_eq!(settings.is_closed(), closed);
            prop_assert_eq!(settings.lists_clients(), clients);
            prop_assert_eq!(settings.admits_unlisted(), !only);
            prop_assert_eq!(settings.is_open(), !closed && !clients);
        }
    }

    #[test]
    fn without_a_rule_set_everything_is_open() {
        assert!(Settings::default().is_open());
    }
}
