//! The flow table: install, list, expire. The entries live in the kernel's maps; what stands here is only
//! what can be derived from them.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv6Addr, SocketAddrV4, SocketAddrV6},
    time::Duration,
};

use anyhow::{Context, Result};
use aya::maps::MapError;
use ingress_common::{
    checksum::Sum,
    maps::{BackendKey, CLOSING_FIN, CLOSING_RST, ClientKey, ToBackend, ToClient},
    tcp::Seq,
};

use crate::{
    control::FlowState,
    dataplane::{FlowMaps, host, host_name},
    handshake::{ClientTuple, Splice},
    icmp::Spliced,
};

/// How long an established flow may be idle: RFC 5382 REQ-5 asks for at least 2 h 4 min.
pub const ESTABLISHED: Duration = Duration::from_secs(2 * 3600 + 4 * 60 + 30);
/// How long a flow stays after both FINs or a RST: at least 4 min (RFC 5382 REQ-5, RFC 7857 §2.1).
pub const TRANSITORY: Duration = Duration::from_secs(4 * 60);

/// Why a flow is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// Both sides had closed, or one had reset.
    Closed,
    /// Nothing was heard of it for [`ESTABLISHED`].
    Idle,
    /// The client began another connection on the same tuple.
    Replaced,
    /// The operator ended it.
    Killed,
    /// Its backend stopped answering before it had the whole ClientHello.
    BackendGone,
}

impl Cause {
    /// Every cause, for metrics that start at 0.
    pub const ALL: [Self; 5] =
        [Self::Closed, Self::Idle, Self::Replaced, Self::Killed, Self::BackendGone];

    /// The value of the label `cause`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Replaced => "replaced",
            Self::Killed => "killed",
            Self::BackendGone => "backend_gone",
        }
    }
}

/// Why a flow could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no room; established flows are never evicted for a new one.
    #[error("the flow table is full")]
    Full,
    /// The kernel refuses.
    #[error(transparent)]
    Kernel(#[from] anyhow::Error),
}

/// How far a backend is with what its client was acknowledged in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It has it, or the flow is another's.
    Wholly,
    /// It has answered, and does not have it all.
    InPart,
    /// It has said nothing, or there is no flow.
    Nothing,
}

/// No packet without payload is longer: an IPv4 header, and a TCP header full of options.
const BARE: u64 = 20 + 60;

/// A flow with both its halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the client came from and went to.
    pub tuple: ClientTuple,
    /// Client → backend.
    pub to_backend: ToBackend,
    /// Backend → client; none if the two maps disagree, which only a crash in between can cause.
    pub to_client: Option<ToClient>,
}

impl Flow {
    /// How far it is.
    #[must_use]
    pub fn state(&self) -> FlowState {
        if self.closing() == 0 { FlowState::Established } else { FlowState::Closing }
    }

    /// The server.
    #[must_use]
    pub fn backend(&self) -> SocketAddrV6 {
        let address = Ipv6Addr::from(self.to_backend.backend);
        SocketAddrV6::new(address, self.tuple.listen.port(), 0, 0)
    }

    /// Since when nothing was heard of it, in nanoseconds since boot.
    #[must_use]
    pub fn last_seen(&self) -> u64 {
        let back = self.to_client.map_or(0, |half| half.last_seen);
        self.to_backend.last_seen.max(back)
    }

    fn closing(&self) -> u8 {
        self.to_backend.closing | self.to_client.map_or(0, |half| half.closing)
    }

    /// Whether its time is over at `now`, and why.
    fn expired(&self, now: u64) -> Option<Cause> {
        let fins = [Some(self.to_backend.closing), self.to_client.map(|half| half.closing)];
        let both = fins.iter().all(|half| half.is_none_or(|marks| marks & CLOSING_FIN != 0));
        let over = both || self.closing() & CLOSING_RST != 0;
        let (limit, cause) =
            if over { (TRANSITORY, Cause::Closed) } else { (ESTABLISHED, Cause::Idle) };
        let idle = Duration::from_nanos(now.saturating_sub(self.last_seen()));
        (idle > limit).then_some(cause)
    }
}

struct HostNumber {
    number: u32,
    /// When a flow was last installed with it, in nanoseconds since boot.
    last_used: u64,
}

/// The table, as the engine changes it.
pub struct FlowTable {
    maps: FlowMaps,
    /// Numbers of names in `HOSTS`.
    hosts: HashMap<String, HostNumber>,
    next_host: u32,
    entries: u64,
}

impl FlowTable {
    /// Takes over the maps with whatever flows are in them.
    #[must_use]
    pub fn open(maps: FlowMaps) -> Self {
        let hosts: HashMap<String, HostNumber> = maps
            .names()
            .into_iter()
            .map(|(number, name)| (name, HostNumber { number, last_used: 0 }))
            .collect();
        let last = hosts.values().map(|host| host.number).max();
        let entries = maps.to_backend.keys().filter(Result::is_ok).count() as u64;
        Self { maps, hosts, next_host: last.map_or(1, |last| last.wrapping_add(1)), entries }
    }

    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Writes both halves of a flow, the way back first: the first packet there finds the way back.
    ///
    /// # Errors
    /// [`InstallError::Full`] leaves nothing behind.
    pub fn install(
        &mut self,
        tuple: ClientTuple,
        splice: &Splice,
        now: u64,
    ) -> Result<(), InstallError> {
        let host = self.host_number(splice.host.as_str(), now)?;
        let (client_key, backend_key) = keys(tuple, splice.backend.address, splice.backend.source);
        let to_client = to_client(tuple, splice, now);
        let to_backend = to_backend(tuple, splice, host, now);
        self.maps.to_client.insert(backend_key, to_client, 0).map_err(full)?;
        if let Err(error) = self.maps.to_backend.insert(client_key, to_backend, 0) {
            let _ = self.maps.to_client.remove(&backend_key);
            return Err(full(error));
        }
        self.entries += 1;
        Ok(())
    }

    /// Deletes a flow, if it is there.
    pub fn remove(&mut self, tuple: ClientTuple) -> bool {
        let key = client_key(tuple);
        let Ok(half) = self.maps.to_backend.get(&key, 0) else { return false };
        // The way there first: no packet may go out whose answer finds nothing.
        if self.maps.to_backend.remove(&key).is_err() {
            return false;
        }
        let _ = self.maps.to_client.remove(&return_key(&key, &half));
        self.entries = self.entries.saturating_sub(1);
        true
    }

    /// The flow that a packet of ours to a client belonged to, for an ICMP error, and its site's number.
    #[must_use]
    pub fn by_client(&self, key: &ClientKey) -> Option<(Spliced, u16)> {
        let half = self.maps.to_backend.get(key, 0).ok()?;
        Some((spliced(key.client, key.listen, &half), half.site))
    }

    /// The flow that a packet of ours to a backend belonged to, for an ICMPv6 error, and its site's number.
    #[must_use]
    pub fn by_backend(&self, key: &BackendKey) -> Option<(Spliced, u16)> {
        let half = self.maps.to_client.get(key, 0).ok()?;
        let key = ClientKey::new(half.client, key.client_port, half.listen, key.backend_port);
        self.by_client(&key)
    }

    /// Whether there is a flow on the tuple, and the cookie is not of a later connection.
    #[must_use]
    pub fn stands(&self, tuple: ClientTuple, cookie: Seq) -> bool {
        let half = self.maps.to_backend.get(&client_key(tuple), 0);
        half.is_ok_and(|half| half.reopened != cookie.0.to_be_bytes())
    }

    /// How much of what a client was acknowledged up to `end` has reached the backend of its flow.
    #[must_use]
    pub fn delivered(&self, tuple: ClientTuple, end: Seq) -> Delivered {
        let Some(flow) = self.maps.get(tuple) else { return Delivered::Nothing };
        let Some(half) = flow.to_client else { return Delivered::Nothing };
        if half.watching == 0 || half.watched != end.0.to_be_bytes() {
            Delivered::Wholly
        } else if half.bytes > half.packets * BARE {
            Delivered::InPart
        } else {
            Delivered::Nothing
        }
    }

    /// Deletes the flows of a survey whose time is still over, and names that no flow has any more.
    pub fn sweep(&mut self, survey: &Survey, now: u64) -> Vec<(Flow, Cause)> {
        let mut ended = Vec::new();
        for tuple in &survey.expired {
            // It may have been replaced since.
            if let Some(flow) = self.maps.get(*tuple)
                && let Some(cause) = flow.expired(now)
                && self.remove(*tuple)
            {
                ended.push((flow, cause));
            }
        }
        let maps = &mut self.maps;
        self.hosts.retain(|_, host| {
            let needed = survey.hosts.contains(&host.number) || host.last_used >= survey.begun;
            needed || maps.hosts.remove(&host.number).is_err()
        });
        ended
    }

    fn host_number(&mut self, name: &str, now: u64) -> Result<u32> {
        if let Some(host) = self.hosts.get_mut(name) {
            host.last_used = now;
            return Ok(host.number);
        }
        let number = self.next_host;
        self.maps.hosts.insert(number, host(name), 0).context("write a name")?;
        self.next_host = number.wrapping_add(1);
        self.hosts.insert(name.to_owned(), HostNumber { number, last_used: now });
        Ok(number)
    }
}

/// What a look at the whole table finds. It takes its time, so it is taken off the engine's task.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    begun: u64,
    expired: Vec<ClientTuple>,
    hosts: HashSet<u32>,
}

impl Survey {
    /// Looks at every flow.
    #[must_use]
    pub fn of(maps: &FlowMaps, now: u64) -> Self {
        let mut survey = Self { begun: now, ..Self::default() };
        for flow in maps.flows() {
            survey.hosts.insert(flow.to_backend.host);
            if flow.expired(now).is_some() {
                survey.expired.push(flow.tuple);
            }
        }
        survey
    }
}

impl FlowMaps {
    /// Every flow, without names. Flows that come or go meanwhile may be missed.
    pub fn flows(&self) -> impl Iterator<Item = Flow> + '_ {
        self.to_backend.iter().filter_map(Result::ok).map(|(key, half)| self.flow(&key, half))
    }

    /// The names by number.
    #[must_use]
    pub fn names(&self) -> HashMap<u32, String> {
        self.hosts
            .iter()
            .filter_map(Result::ok)
            .map(|(number, name)| (number, host_name(&name)))
            .collect()
    }

    fn get(&self, tuple: ClientTuple) -> Option<Flow> {
        let key = client_key(tuple);
        self.to_backend.get(&key, 0).ok().map(|half| self.flow(&key, half))
    }

    fn flow(&self, key: &ClientKey, half: ToBackend) -> Flow {
        Flow {
            tuple: tuple(key),
            to_backend: half,
            to_client: self.to_client.get(&return_key(key, &half), 0).ok(),
        }
    }
}

/// The keys of both halves.
#[must_use]
pub fn keys(
    tuple: ClientTuple,
    backend: SocketAddrV6,
    source: Ipv6Addr,
) -> (ClientKey, BackendKey) {
    let client_port = tuple.client.port().to_be_bytes();
    let backend_key = BackendKey::new(
        backend.ip().octets(),
        backend.port().to_be_bytes(),
        source.octets(),
        client_port,
    );
    (client_key(tuple), backend_key)
}

/// The client's half of the key.
#[must_use]
pub fn client_key(tuple: ClientTuple) -> ClientKey {
    ClientKey::new(
        tuple.client.ip().octets(),
        tuple.client.port().to_be_bytes(),
        tuple.listen.ip().octets(),
        tuple.listen.port().to_be_bytes(),
    )
}

fn tuple(key: &ClientKey) -> ClientTuple {
    let address = |ip: [u8; 4], port| SocketAddrV4::new(ip.into(), u16::from_be_bytes(port));
    ClientTuple {
        client: address(key.client, key.client_port),
        listen: address(key.listen, key.listen_port),
    }
}

fn spliced(client: [u8; 4], listen: [u8; 4], half: &ToBackend) -> Spliced {
    let delta = u32::from_be_bytes(half.delta);
    Spliced { client, listen, backend: half.backend, source: half.source, delta }
}

fn return_key(key: &ClientKey, half: &ToBackend) -> BackendKey {
    BackendKey::new(half.backend, key.listen_port, half.source, key.client_port)
}

fn to_backend(tuple: ClientTuple, splice: &Splice, host: u32, now: u64) -> ToBackend {
    let (backend, source) = (splice.backend.address.ip().octets(), splice.backend.source.octets());
    let change = v6_sum(&backend, &source).plus(Sum(u32::from(!v4_sum(tuple).fold())));
    // Where the backend refused scaling it takes the client's windows at their word.
    let expand = match (splice.backend_scale, splice.client_scale) {
        (None, Some(scale)) => scale,
        (Some(_), _) | (None, None) => 0,
    };
    ToBackend {
        packets: 0,
        bytes: 0,
        last_seen: now,
        opened: now,
        backend,
        source,
        delta: splice.delta().to_be_bytes(),
        reopened: [0; 4],
        host,
        address_change: change.fold(),
        site: splice.backend.site,
        expand,
        closing: 0,
        reserved: [0; 6],
    }
}

fn to_client(tuple: ClientTuple, splice: &Splice, now: u64) -> ToClient {
    let (backend, source) = (splice.backend.address.ip().octets(), splice.backend.source.octets());
    let change = v4_sum(tuple).plus(Sum(u32::from(!v6_sum(&backend, &source).fold())));
    ToClient {
        packets: 0,
        bytes: 0,
        last_seen: now,
        client: tuple.client.ip().octets(),
        listen: tuple.listen.ip().octets(),
        delta: splice.delta().to_be_bytes(),
        watched: splice.watch.unwrap_or_default().0.to_be_bytes(),
        address_change: change.fold(),
        backend_scale: splice.backend_scale.unwrap_or(0),
        promised_scale: splice.promised_scale.unwrap_or(0),
        closing: 0,
        watching: u8::from(splice.watch.is_some()),
        reserved: [0; 2],
    }
}

fn v4_sum(tuple: ClientTuple) -> Sum {
    Sum::default().add4(tuple.client.ip().octets()).add4(tuple.listen.ip().octets())
}

fn v6_sum(backend: &[u8; 16], source: &[u8; 16]) -> Sum {
    Sum::default().add16(backend).add16(source)
}

fn full(error: MapError) -> InstallError {
    if let MapError::SyscallError(error) = &error
        && error.io_error.raw_os_error() == Some(libc::E2BIG)
    {
        return InstallError::Full;
    }
    InstallError::Kernel(error.into())
}
