//! The maps behind the programs, each with the few things that are done to it.

use std::{
    collections::{HashMap as StdHashMap, HashSet},
    net::Ipv6Addr,
    path::Path,
};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, RingBuf, lpm_trie::Key},
};
use ingress_common::{
    maps::{
        BackendKey, ClientKey, CookieKeys, Debt, Device, Host, Listener, ListenerKey, MAX_HOST_LEN,
        MAX_SITES, Route, ToBackend, ToClient, Volume,
    },
    verdict::{Cookie, DropReason, Traffic},
};
use ipnet::Ipv6Net;

use super::take;

/// Every map, handed to the rooms that own them.
pub struct Tables {
    /// `UPLINK`, `SITES`.
    pub devices: Devices,
    /// `SITE_NAMES`.
    pub site_names: SiteNames,
    /// `ROUTES`.
    pub routes: Routes,
    /// `LISTENERS`.
    pub listeners: Listeners,
    /// `PENDING`, `EXPECTED`.
    pub marks: Marks,
    /// `DEBTS`.
    pub debts: Debts,
    /// `SECRETS`, `HEARTBEAT`.
    pub secrets: Secrets,
    /// `FLOWS`, `RETURNS`, `HOSTS`.
    pub flows: FlowMaps,
    /// `DROPS`, `COOKIES`, `TRAFFIC`.
    pub counters: Counters,
    /// `UPCALLS`.
    pub upcalls: RingBuf<MapData>,
}

impl Tables {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            devices: Devices {
                uplink: Array::try_from(take(ebpf, "UPLINK")?)?,
                sites: Array::try_from(take(ebpf, "SITES")?)?,
            },
            site_names: SiteNames(Array::try_from(take(ebpf, "SITE_NAMES")?)?),
            routes: Routes(LpmTrie::try_from(take(ebpf, "ROUTES")?)?),
            listeners: Listeners(HashMap::try_from(take(ebpf, "LISTENERS")?)?),
            marks: Marks {
                pending: HashMap::try_from(take(ebpf, "PENDING")?)?,
                expected: HashMap::try_from(take(ebpf, "EXPECTED")?)?,
            },
            debts: Debts(HashMap::try_from(take(ebpf, "DEBTS")?)?),
            secrets: Secrets {
                keys: Array::try_from(take(ebpf, "SECRETS")?)?,
                heartbeat: Array::try_from(take(ebpf, "HEARTBEAT")?)?,
            },
            flows: FlowMaps {
                to_backend: HashMap::try_from(take(ebpf, "FLOWS")?)?,
                to_client: HashMap::try_from(take(ebpf, "RETURNS")?)?,
                hosts: HashMap::try_from(take(ebpf, "HOSTS")?)?,
            },
            counters: Counters {
                drops: PerCpuArray::try_from(take(ebpf, "DROPS")?)?,
                cookies: PerCpuArray::try_from(take(ebpf, "COOKIES")?)?,
                traffic: PerCpuArray::try_from(take(ebpf, "TRAFFIC")?)?,
            },
            upcalls: RingBuf::try_from(take(ebpf, "UPCALLS")?)?,
        })
    }
}

/// Where packets leave.
pub struct Devices {
    uplink: Array<MapData, Device>,
    sites: Array<MapData, Device>,
}

impl Devices {
    /// Sets the uplink.
    ///
    /// # Errors
    /// Where the kernel refuses, as everywhere in this file.
    pub fn set_uplink(&mut self, device: Device) -> Result<()> {
        self.uplink.set(0, device, 0).context("set the uplink")
    }

    /// Sets the tunnel of a site.
    ///
    /// # Errors
    /// As above.
    pub fn set_site(&mut self, site: u16, device: Device) -> Result<()> {
        self.sites.set(u32::from(site), device, 0).context("set a site's tunnel")
    }
}

/// What the indices of sites mean.
pub struct SiteNames(Array<MapData, Host>);

impl SiteNames {
    /// Gives every name an index: the one it had, or a free one. Names that are gone keep theirs as long
    /// as there are others, since flows may still carry it.
    ///
    /// # Errors
    /// With more sites than there is room for.
    pub fn assign(&mut self, names: &[&str]) -> Result<Vec<u16>> {
        let mut known: Vec<String> = (0..MAX_SITES)
            .map(|index| self.0.get(&index, 0).map(|host| host_name(&host)))
            .collect::<Result<_, _>>()
            .context("read the sites' names")?;
        names
            .iter()
            .map(|name| {
                let had = known.iter().position(|known| known == name);
                let index = had
                    .or_else(|| known.iter().position(String::is_empty))
                    .or_else(|| known.iter().position(|known| !names.contains(&known.as_str())))
                    .with_context(|| format!("more than {MAX_SITES} sites"))?;
                known[index] = (*name).to_owned();
                let index = u16::try_from(index).context("site index")?;
                self.0.set(u32::from(index), host(name), 0).context("name a site")?;
                Ok(index)
            })
            .collect()
    }
}

/// What IPv6 addresses are.
pub struct Routes(LpmTrie<MapData, [u8; 16], Route>);

impl Routes {
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

/// Tuples in the daemon's hands.
pub struct Marks {
    pending: HashMap<MapData, ClientKey, u64>,
    expected: HashMap<MapData, BackendKey, u64>,
}

impl Marks {
    /// Has every packet of a client handed up.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn pend(&mut self, key: &ClientKey, now: u64) -> Result<()> {
        self.pending.insert(key, now, 0).context("mark a client")
    }

    /// Takes that back.
    pub fn unpend(&mut self, key: &ClientKey) {
        forget(self.pending.remove(key));
    }

    /// Has every packet of a backend handed up.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn expect(&mut self, key: &BackendKey, now: u64) -> Result<()> {
        self.expected.insert(key, now, 0).context("expect a backend")
    }

    /// Takes that back.
    pub fn unexpect(&mut self, key: &BackendKey) {
        forget(self.expected.remove(key));
    }

    /// Takes back what an earlier daemon left, since nobody is going to answer; except of clients whose handshakes go
    /// on.
    ///
    /// # Errors
    /// Where the maps cannot be read.
    pub fn clear(&mut self, except: &HashSet<ClientKey>) -> Result<()> {
        let pending = self.pending.keys().collect::<Result<HashSet<_>, _>>()?;
        for key in pending.difference(except) {
            self.unpend(key);
        }
        for key in self.expected.keys().collect::<Result<HashSet<_>, _>>()? {
            self.unexpect(&key);
        }
        Ok(())
    }
}

/// What clients will not send again.
pub struct Debts(HashMap<MapData, ClientKey, Debt>);

impl Debts {
    /// Puts down what is owed on behalf of a client.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn set(&mut self, key: &ClientKey, debt: &Debt) -> Result<()> {
        self.0.insert(key, debt, 0).context("put down what is owed")
    }

    /// It is paid, or nobody waits for it any more.
    pub fn forget(&mut self, key: &ClientKey) {
        forget(self.0.remove(key));
    }

    /// What an earlier daemon left.
    #[must_use]
    pub fn list(&self) -> Vec<(ClientKey, Debt)> {
        self.0.iter().filter_map(Result::ok).collect()
    }
}

/// A mark that is gone is as good as one taken back.
fn forget(result: Result<(), MapError>) {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => {}
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => tracing::warn!(%error, "a mark stays in its map"),
    }
}

/// The cookies' keys, and the sign of life.
pub struct Secrets {
    keys: Array<MapData, CookieKeys>,
    heartbeat: Array<MapData, u64>,
}

impl Secrets {
    /// The keys in force.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn keys(&self) -> Result<CookieKeys> {
        self.keys.get(&0, 0).context("read the cookie keys")
    }

    /// Puts other keys in force.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn set_keys(&mut self, keys: CookieKeys) -> Result<()> {
        self.keys.set(0, keys, 0).context("set the cookie keys")
    }

    /// Tells the programs that a daemon lives.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn beat(&mut self, now: u64) -> Result<()> {
        self.heartbeat.set(0, now, 0).context("beat")
    }
}

/// The flow table's maps.
pub struct FlowMaps {
    /// Client → backend.
    pub to_backend: HashMap<MapData, ClientKey, ToBackend>,
    /// Backend → client.
    pub to_client: HashMap<MapData, BackendKey, ToClient>,
    /// Names by number.
    pub hosts: HashMap<MapData, u32, Host>,
}

impl FlowMaps {
    /// The same maps, opened once more through their pins.
    ///
    /// # Errors
    /// Where they are not pinned below `directory`.
    pub fn open(directory: &Path) -> Result<Self> {
        let map = |name: &str| {
            let path = directory.join(name);
            MapData::from_pin(&path)
                .map(Map::HashMap)
                .with_context(|| format!("open {}", path.display()))
        };
        Ok(Self {
            to_backend: HashMap::try_from(map("FLOWS")?)?,
            to_client: HashMap::try_from(map("RETURNS")?)?,
            hosts: HashMap::try_from(map("HOSTS")?)?,
        })
    }
}

/// What the programs count.
pub struct Counters {
    drops: PerCpuArray<MapData, u64>,
    cookies: PerCpuArray<MapData, u64>,
    traffic: PerCpuArray<MapData, Volume>,
}

impl Counters {
    /// Packets dropped for a reason.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        sum(&self.drops, reason as u32)
    }

    /// Cookies with a result.
    #[must_use]
    pub fn cookies(&self, result: Cookie) -> u64 {
        sum(&self.cookies, result as u32)
    }

    /// Packets and octets one way on one path.
    #[must_use]
    pub fn traffic(&self, path: Traffic) -> Volume {
        let Ok(values) = self.traffic.get(&(path as u32), 0) else { return Volume::default() };
        values.iter().fold(Volume::default(), |sum, volume| Volume {
            packets: sum.packets + volume.packets,
            bytes: sum.bytes + volume.bytes,
        })
    }
}

fn sum(counters: &PerCpuArray<MapData, u64>, index: u32) -> u64 {
    counters.get(&index, 0).map_or(0, |values| values.iter().sum())
}

/// A name as the maps hold it.
#[must_use]
pub fn host(name: &str) -> Host {
    let mut host = Host { len: 0, name: [0; MAX_HOST_LEN + 2] };
    let len = name.len().min(MAX_HOST_LEN);
    host.name[..len].copy_from_slice(&name.as_bytes()[..len]);
    host.len = u8::try_from(len).unwrap_or(u8::MAX);
    host
}

/// The name in such a value.
#[must_use]
pub fn host_name(host: &Host) -> String {
    let name = host.name.get(..usize::from(host.len)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
