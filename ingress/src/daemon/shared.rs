//! What the tasks share.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4},
    path::PathBuf,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ingress_common::maps::Listener;

use super::{announced::Announced, refusals::Refusals};
use crate::{
    config::{Config, Protocol, Site},
    control::{Interface, Reload, Shield},
    dns::Resolver,
    flows::Cause,
    handshake::Outcome,
    host_name::HostName,
    metrics::HandshakeSeconds,
};

/// State behind short locks; nobody holds one across an await.
pub struct Shared {
    /// The configuration file.
    pub path: PathBuf,
    /// When the daemon started.
    pub started: Instant,
    /// Looks names up.
    pub resolver: Resolver,
    /// How long handshakes take, from the ClientHello to the backend's SYN-ACK.
    pub handshake_seconds: HandshakeSeconds,
    /// Counters of this run.
    pub tally: Tally,
    /// Names that were refused of late.
    pub refusals: Refusals,
    /// The largest segments that backends take.
    pub announced: Announced,
    /// When the engine last beat, in nanoseconds since boot.
    pub last_beat: AtomicU64,
    /// How many flows fit into the pinned table, whatever the configuration says.
    pub flow_capacity: AtomicU64,
    config: RwLock<Arc<Config>>,
    applied: RwLock<Arc<Applied>>,
    last_reload: RwLock<Reload>,
}

/// The configuration and the network, brought together.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The uplink, once it was looked at.
    pub uplink: Option<Interface>,
    /// Whether SYNs are answered by the shield in front of it, and in which mode.
    pub shield: Shield,
    /// Whether the shield was to be in native mode, whose answers get lost.
    pub native_is_lost: bool,
    /// The sites, as the configuration has them.
    pub sites: Vec<Site>,
    /// Their tunnels, in the same order.
    pub tunnels: Vec<Interface>,
    /// Their numbers, which are indices in `SITES`, in the same order.
    pub site_numbers: Vec<u16>,
    /// What is listened on, as far as there was room in `LISTENERS`.
    pub listeners: HashMap<SocketAddrV4, Listening>,
}

/// A listed port, as the engine needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// What clients speak there.
    pub protocol: Protocol,
    /// Where clients without a name go.
    pub default_host: Option<HostName>,
    /// What clients are promised.
    pub promise: Listener,
}

/// Counters of this run of the daemon.
#[derive(Default)]
pub struct Tally {
    /// Flows installed.
    pub opened: AtomicU64,
    /// Handshakes in progress, as of the engine's last beat.
    handshakes: RwLock<HashMap<Protocol, u64>>,
    closed: RwLock<BTreeMap<Cause, u64>>,
    outcomes: RwLock<BTreeMap<Outcome, u64>>,
}

impl Shared {
    /// For a daemon that starts now.
    pub fn new(path: PathBuf, config: Config) -> Self {
        Self {
            path,
            started: Instant::now(),
            resolver: Resolver::new(&config.dns, &config.hosts),
            handshake_seconds: HandshakeSeconds::default(),
            tally: Tally::default(),
            refusals: Refusals::default(),
            announced: Announced::default(),
            last_beat: AtomicU64::default(),
            flow_capacity: AtomicU64::new(u64::from(config.daemon.flows)),
            config: RwLock::new(Arc::new(config)),
            applied: RwLock::default(),
            last_reload: RwLock::new(Reload { timestamp_seconds: unix_now(), error: None }),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        read(&self.config).clone()
    }

    /// What came of the configuration in force, as of the last look at the network.
    pub fn applied(&self) -> Arc<Applied> {
        read(&self.applied).clone()
    }

    /// The last attempt to change the configuration.
    pub fn last_reload(&self) -> Reload {
        read(&self.last_reload).clone()
    }

    /// Puts another configuration in force.
    pub fn set_config(&self, config: Config) {
        *write(&self.config) = Arc::new(config);
    }

    /// Notes what came of the configuration and the network.
    pub fn set_applied(&self, applied: Applied) {
        *write(&self.applied) = Arc::new(applied);
    }

    /// Notes an attempt to change the configuration, with why it failed.
    pub fn note_reload(&self, error: Option<String>) {
        *write(&self.last_reload) = Reload { timestamp_seconds: unix_now(), error };
    }
}

impl Applied {
    /// A site, by its number in `SITES`.
    pub fn site(&self, number: u16) -> Option<&Site> {
        self.sites.get(self.position(number)?)
    }

    /// The tunnel of a site, by its number in `SITES`.
    pub fn tunnel(&self, number: u16) -> Option<&Interface> {
        self.tunnels.get(self.position(number)?)
    }

    /// The index of a site's tunnel, by the site's number in `SITES`; none while it is not there.
    pub fn tunnel_index(&self, number: u16) -> Option<u32> {
        self.tunnel(number)?.index
    }

    /// The index of the tunnel behind which an address lies; none while it is not there.
    pub fn tunnel_index_to(&self, address: Ipv6Addr) -> Option<u32> {
        self.tunnels.get(self.sites.iter().position(|site| site.owns(address))?)?.index
    }

    fn position(&self, number: u16) -> Option<usize> {
        self.site_numbers.iter().position(|known| *known == number)
    }

    /// What clients speak on a port; on one that is no longer listed, whatever is listed on any address.
    pub fn protocol(&self, listen: SocketAddrV4) -> Protocol {
        let same_port = |address: &&SocketAddrV4| address.port() == listen.port();
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let other = self.listeners.keys().find(same_port).copied().unwrap_or(any);
        let found = self.listeners.get(&listen).or_else(|| self.listeners.get(&other));
        found.map_or(Protocol::Tls, |listening| listening.protocol)
    }
}

impl Tally {
    /// Counts the end of a flow.
    pub fn closed(&self, cause: Cause) {
        *write(&self.closed).entry(cause).or_default() += 1;
    }

    /// Counts the end of a handshake.
    pub fn outcome(&self, outcome: Outcome) {
        *write(&self.outcomes).entry(outcome).or_default() += 1;
    }

    /// Notes the protocol of each handshake in progress.
    pub fn set_handshakes(&self, protocols: impl Iterator<Item = Protocol>) {
        let mut handshakes = HashMap::new();
        for protocol in protocols {
            *handshakes.entry(protocol).or_default() += 1;
        }
        *write(&self.handshakes) = handshakes;
    }

    /// How many handshakes of each protocol there were at the last beat.
    pub fn handshakes(&self) -> HashMap<Protocol, u64> {
        read(&self.handshakes).clone()
    }

    /// How many flows ended for a cause.
    pub fn closed_for(&self, cause: Cause) -> u64 {
        read(&self.closed).get(&cause).copied().unwrap_or(0)
    }

    /// How many handshakes ended with an outcome.
    pub fn ended_with(&self, outcome: Outcome) -> u64 {
        read(&self.outcomes).get(&outcome).copied().unwrap_or(0)
    }

    /// Adds one to a counter.
    pub fn bump(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A lock is held for an assignment only, so a panic cannot leave it half done.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
