//! The rule set in force. Another one is written beside it and then put in its place with one word, so that a
//! packet meets the one or the other, and a failure in between leaves everything as it was.

use std::{collections::BTreeMap, net::Ipv6Addr, path::Path};

use anyhow::{Context, Result};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, Map, MapData, lpm_trie::Key},
};
use ingress_common::policy::{Connection, ConnectionKey, Place, Service, Settings, Source};
use ipnet::Ipv6Net;

use super::super::take;
use crate::policy::{Ports, RuleSet};

/// `POLICY`, `POLICY_CHANGED`, `TARGETS`, `SERVICES`, `SOURCES`.
pub struct PolicyTables {
    settings: Array<MapData, Settings>,
    changed: Array<MapData, u64>,
    targets: LpmTrie<MapData, Place, u32>,
    services: LpmTrie<MapData, Service, u32>,
    sources: LpmTrie<MapData, Source, u32>,
}

impl PolicyTables {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            settings: Array::try_from(take(ebpf, "POLICY")?)?,
            changed: Array::try_from(take(ebpf, "POLICY_CHANGED")?)?,
            targets: LpmTrie::try_from(take(ebpf, "TARGETS")?)?,
            services: LpmTrie::try_from(take(ebpf, "SERVICES")?)?,
            sources: LpmTrie::try_from(take(ebpf, "SOURCES")?)?,
        })
    }

    /// Puts these rules in force, unless they are. Says whether anything changed.
    ///
    /// # Errors
    /// Where a trie is full; the rules before stay in force.
    pub fn replace(&mut self, wanted: &RuleSet, now: u64) -> Result<bool> {
        let before = self.settings.get(&0, 0).context("read the policy")?;
        if before.set() != 0 && self.read(before)? == *wanted {
            return Ok(false);
        }
        let next = before.set().wrapping_add(1).max(1);
        // What was in force before what is: nobody looks there any more.
        self.keep_only(before.set())?;
        if let Err(error) = self.write(wanted, next) {
            self.keep_only(before.set())?;
            return Err(error);
        }
        if before.set() != 0 {
            self.changed.set(0, now, 0).context("date the policy")?;
        }
        let settings = Settings::new(next, wanted.closed, wanted.clients, wanted.only_listed);
        self.settings.set(0, settings, 0).context("put the policy in force")?;
        Ok(true)
    }

    fn write(&mut self, wanted: &RuleSet, set: u32) -> Result<()> {
        let be = set.to_be_bytes();
        for (net, services) in &wanted.targets {
            let key = Place { set: be, address: net.addr().octets() };
            let bits = Place::HEAD + u32::from(net.prefix_len());
            let written = self.targets.insert(&Key::new(bits, key), *services, 0);
            written.with_context(|| format!("allow {net}"))?;
        }
        for ((services, ports), group) in &wanted.services {
            let (key, bits) = ports.key(set, *services);
            self.services.insert(&Key::new(bits, key), *group, 0).context("allow a port")?;
        }
        for ((group, net), may) in &wanted.sources {
            let address = net.addr().octets();
            let key = Source { set: be, group: group.to_be_bytes(), address };
            let bits = Source::HEAD + u32::from(net.prefix_len());
            let written = self.sources.insert(&Key::new(bits, key), u32::from(*may), 0);
            written.with_context(|| format!("list {net}"))?;
        }
        Ok(())
    }

    fn read(&self, settings: Settings) -> Result<RuleSet> {
        let mut found = RuleSet {
            closed: settings.is_closed(),
            clients: settings.lists_clients(),
            only_listed: !settings.admits_unlisted(),
            targets: BTreeMap::new(),
            services: BTreeMap::new(),
            sources: BTreeMap::new(),
        };
        let set = settings.set().to_be_bytes();
        for (bits, key, services) in entries(&self.targets, |key| key.set == set)? {
            found.targets.insert(net(key.address, bits, Place::HEAD)?, services);
        }
        for (bits, key, group) in entries(&self.services, |key| key.set == set)? {
            let services = u32::from_be_bytes(key.services);
            found.services.insert((services, Ports::read(&key, bits)), group);
        }
        for (bits, key, may) in entries(&self.sources, |key| key.set == set)? {
            let group = u32::from_be_bytes(key.group);
            found.sources.insert((group, net(key.address, bits, Source::HEAD)?), may != 0);
        }
        Ok(found)
    }

    fn keep_only(&mut self, set: u32) -> Result<()> {
        let set = set.to_be_bytes();
        remove(&mut self.targets, |key| key.set != set)?;
        remove(&mut self.services, |key| key.set != set)?;
        remove(&mut self.sources, |key| key.set != set)
    }
}

/// What stands in `CONNECTIONS`. An entry that goes meanwhile is none.
///
/// # Errors
/// Where it is not pinned below `directory`.
pub fn remembered(directory: &Path) -> Result<Vec<(ConnectionKey, Connection)>> {
    let path = directory.join("CONNECTIONS");
    let map = MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
    let map: HashMap<_, ConnectionKey, Connection> = HashMap::try_from(Map::LruHashMap(map))?;
    Ok(map.iter().filter_map(Result::ok).collect())
}

fn entries<K: Pod>(
    trie: &LpmTrie<MapData, K, u32>,
    wanted: impl Fn(&K) -> bool,
) -> Result<Vec<(u32, K, u32)>> {
    let mut found = Vec::new();
    for entry in trie.iter() {
        let (key, value) = entry.context("read the policy")?;
        if wanted(&key.data()) {
            found.push((key.prefix_len(), key.data(), value));
        }
    }
    Ok(found)
}

fn remove<K: Pod>(
    trie: &mut LpmTrie<MapData, K, u32>,
    unwanted: impl Fn(&K) -> bool,
) -> Result<()> {
    for (bits, key, _) in entries(trie, unwanted)? {
        trie.remove(&Key::new(bits, key)).context("clear out an old policy")?;
    }
    Ok(())
}

fn net(address: [u8; 16], bits: u32, head: u32) -> Result<Ipv6Net> {
    let len = u8::try_from(bits.saturating_sub(head)).context("prefix length")?;
    Ok(Ipv6Net::new(Ipv6Addr::from(address), len)?)
}
