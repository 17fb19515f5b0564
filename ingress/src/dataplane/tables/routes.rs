//! What addresses are, and which ports are listened on: tables that are made to match a plan.

use std::{collections::HashMap as StdHashMap, net::Ipv6Addr};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{HashMap, LpmTrie, MapData, lpm_trie::Key},
};
use ingress_common::maps::{Listener, ListenerKey, Route};
use ipnet::Ipv6Net;

use super::super::take;

/// What IPv6 addresses are.
pub struct Routes(LpmTrie<MapData, [u8; 16], Route>);

impl Routes {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self(LpmTrie::try_from(take(ebpf, "ROUTES")?)?))
    }

    /// Makes the trie hold exactly `wanted`. What is in both is not touched.
    ///
    /// # Errors
    /// Where the trie is full.
    pub fn replace(&mut self, wanted: &StdHashMap<Ipv6Net, Route>) -> Result<()> {
        let present = self.list()?;
        for (net, route) in wanted {
            if present.get(net) != Some(route) {
                self.0
                    .insert(&route_key(net), *route, 0)
                    .with_context(|| format!("route {net}"))?;
            }
        }
        for net in present.keys().filter(|net| !wanted.contains_key(*net)) {
            self.0.remove(&route_key(net)).with_context(|| format!("unroute {net}"))?;
        }
        Ok(())
    }

    fn list(&self) -> Result<StdHashMap<Ipv6Net, Route>> {
        self.0
            .iter()
            .map(|entry| {
                let (key, route) = entry?;
                let len = u8::try_from(key.prefix_len()).context("prefix length")?;
                Ok((Ipv6Net::new(Ipv6Addr::from(key.data()), len)?, route))
            })
            .collect()
    }
}

fn route_key(net: &Ipv6Net) -> Key<[u8; 16]> {
    Key::new(u32::from(net.prefix_len()), net.network().octets())
}

/// What is listened on.
pub struct Listeners(HashMap<MapData, ListenerKey, Listener>);

impl Listeners {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self(HashMap::try_from(take(ebpf, "LISTENERS")?)?))
    }

    /// What the map holds.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn list(&self) -> Result<StdHashMap<ListenerKey, Listener>> {
        self.0.iter().collect::<Result<_, _>>().context("read what is listened on")
    }

    /// Changes one entry.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn set(&mut self, key: &ListenerKey, listener: Listener) -> Result<()> {
        self.0.insert(key, listener, 0).context("list a port")
    }

    /// Makes the map hold exactly `wanted`.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn replace(&mut self, wanted: &StdHashMap<ListenerKey, Listener>) -> Result<()> {
        for (key, listener) in wanted {
            self.0.insert(key, listener, 0).context("list a port")?;
        }
        let present: Vec<ListenerKey> = self.0.keys().collect::<Result<_, _>>()?;
        for key in present.iter().filter(|key| !wanted.contains_key(*key)) {
            self.0.remove(key).context("unlist a port")?;
        }
        Ok(())
    }
}
