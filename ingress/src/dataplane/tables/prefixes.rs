//! A trie of prefixes that is made to match a plan.

use std::{
    collections::HashMap,
    fmt::Display,
    hash::Hash,
    net::{Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context, Result};
use aya::{
    Ebpf, Pod,
    maps::{LpmTrie, MapData, lpm_trie::Key},
};
use ipnet::{Ipv4Net, Ipv6Net, PrefixLenError};

use super::super::take;

/// A value for each prefix, in a trie that finds the longest one around an address.
pub struct Prefixes<Net: Prefix, Value: Pod>(LpmTrie<MapData, Net::Octets, Value>);

/// A prefix of either family.
pub trait Prefix: Copy + Eq + Hash + Display {
    /// Its address, in network order.
    type Octets: Pod;

    /// The trie's key for it.
    fn key(&self) -> Key<Self::Octets>;

    /// The prefix that a key of the trie stands for.
    ///
    /// # Errors
    /// Where the length is too large for the family.
    fn of(octets: Self::Octets, len: u8) -> Result<Self, PrefixLenError>;
}

impl<Net: Prefix, Value: Pod + PartialEq> Prefixes<Net, Value> {
    pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Self> {
        Ok(Self(LpmTrie::try_from(take(ebpf, name)?)?))
    }

    /// Makes the trie hold exactly `wanted`. What is in both is not touched. What is new comes before the old goes,
    /// unless there is no room for both.
    ///
    /// # Errors
    /// Where `wanted` is too much.
    pub fn replace(&mut self, wanted: &HashMap<Net, Value>) -> Result<()> {
        let present = self.list()?;
        let full = self.add(wanted, &present).is_err();
        for net in present.keys().filter(|net| !wanted.contains_key(*net)) {
            self.0.remove(&net.key()).with_context(|| format!("unroute {net}"))?;
        }
        if full { self.add(wanted, &present) } else { Ok(()) }
    }

    fn add(&mut self, wanted: &HashMap<Net, Value>, present: &HashMap<Net, Value>) -> Result<()> {
        for (net, value) in wanted {
            if present.get(net) != Some(value) {
                self.0.insert(&net.key(), *value, 0).with_context(|| format!("route {net}"))?;
            }
        }
        Ok(())
    }

    fn list(&self) -> Result<HashMap<Net, Value>> {
        self.0
            .iter()
            .map(|entry| {
                let (key, value) = entry?;
                let len = u8::try_from(key.prefix_len()).context("prefix length")?;
                Ok((Net::of(key.data(), len)?, value))
            })
            .collect()
    }
}

impl Prefix for Ipv6Net {
    type Octets = [u8; 16];

    fn key(&self) -> Key<[u8; 16]> {
        Key::new(u32::from(self.prefix_len()), self.network().octets())
    }

    fn of(octets: [u8; 16], len: u8) -> Result<Self, PrefixLenError> {
        Self::new(Ipv6Addr::from(octets), len)
    }
}

impl Prefix for Ipv4Net {
    type Octets = [u8; 4];

    fn key(&self) -> Key<[u8; 4]> {
        Key::new(u32::from(self.prefix_len()), self.network().octets())
    }

    fn of(octets: [u8; 4], len: u8) -> Result<Self, PrefixLenError> {
        Self::new(Ipv4Addr::from(octets), len)
    }
}
