//! The flow table: install, list, expire. The entries live in the kernel's maps; what stands here is only
//! what can be derived from them.

mod closing;
mod entry;
mod survey;

use std::collections::HashMap;

use aya::maps::MapError;
use ingress_common::{
    maps::{BackendKey, ClientKey},
    tcp::{Flags, Seq},
};

use crate::{
    dataplane::{FlowMaps, host, host_name},
    handshake::{ClientTuple, Owed, Sender, Splice},
    host_name::HostName,
    icmp::Spliced,
};

pub use closing::Closings;
pub use entry::{client_key, keys, tuple};
pub use survey::{ESTABLISHED, Finding, Flow, Survey, TRANSITORY};

use entry::{flow_key, return_key, spliced, to_backend, to_client};

/// Whether what a client was acknowledged in its backend's place has got there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It has, or the flow is another's.
    Wholly,
    /// Not all of it, and this is the flow.
    Not(Box<Splice>),
    /// There is no flow.
    Nowhere,
}

/// What stood on the way from a backend back to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing.
    Free,
    /// A flow that was over, and is gone.
    Cleared,
    /// A flow that goes on.
    Taken,
}

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

/// The number of no name.
const UNNAMED: u32 = 0;
const FIRST_HOST: u32 = 1;
/// Stands for a name that is not known any more, where there has to be one.
const FORGOTTEN: &[u8] = b"forgotten.invalid";

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
    closings: Closings,
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
        let next_host = last.and_then(|last| last.checked_add(1)).unwrap_or(FIRST_HOST);
        Self { maps, hosts, next_host, entries, closings: Closings::default() }
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
        let host = self.host_number(splice.host.as_str(), now);
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
        let back = return_key(&key, &half);
        if self.holder(&back).is_none_or(|holder| holder == tuple) {
            let _ = self.maps.to_client.remove(&back);
        }
        self.closings.forget(&tuple);
        self.entries = self.entries.saturating_sub(1);
        true
    }

    /// Notes a FIN or RST of a flow that did not pass through the programs.
    pub fn note_closing(&mut self, tuple: ClientTuple, sender: Sender, flags: Flags) {
        if let Some(flow) = self.maps.get(tuple) {
            self.closings.note(&flow, sender, flags);
        }
    }

    /// What was noted so, for a [`Survey`].
    #[must_use]
    pub fn closings(&self) -> &Closings {
        &self.closings
    }

    fn get(&self, tuple: ClientTuple) -> Option<Flow> {
        let mut flow = self.maps.get(tuple)?;
        self.closings.mark(&mut flow);
        Some(flow)
    }

    /// Makes sure that the way back from a backend is nobody else's: a client may use one port to two addresses of
    /// ours, and a backend cannot tell these connections apart.
    pub fn make_way(&mut self, tuple: ClientTuple, key: &BackendKey) -> Way {
        // The usual case is one look-up.
        let Some(holder) = self.holder(key) else { return Way::Free };
        if self.remove_orphan(key) || holder == tuple {
            return Way::Free;
        }
        match self.get(holder) {
            Some(flow) if !flow.is_over() => Way::Taken,
            Some(_) if self.remove(holder) => Way::Cleared,
            Some(_) | None => Way::Free,
        }
    }

    /// Whose packets a backend's are.
    #[must_use]
    pub fn holder(&self, key: &BackendKey) -> Option<ClientTuple> {
        let half = self.maps.to_client.get(key, 0).ok()?;
        Some(tuple(&flow_key(key, &half)))
    }

    /// Deletes a way back that a crash has left without its flow. With it, what a backend says would go to the client
    /// instead of the handshake that waits for it.
    fn remove_orphan(&mut self, key: &BackendKey) -> bool {
        let half = self.maps.to_client.get(key, 0);
        let orphan = half.is_ok_and(|half| self.maps.is_orphan(key, &half));
        if orphan {
            let _ = self.maps.to_client.remove(key);
        }
        orphan
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
        self.by_client(&client_key(self.holder(key)?))
    }

    /// Whether there is a flow on the tuple, and the cookie is not of a later connection.
    #[must_use]
    pub fn stands(&self, tuple: ClientTuple, cookie: Seq) -> bool {
        let half = self.maps.to_backend.get(&client_key(tuple), 0);
        half.is_ok_and(|half| half.reopened != cookie.0.to_be_bytes())
    }

    /// Whether what a client was acknowledged has reached the backend of its flow.
    #[must_use]
    pub fn delivered(&self, tuple: ClientTuple, owed: &Owed) -> Delivered {
        let Some(flow) = self.maps.get(tuple) else { return Delivered::Nowhere };
        let Some(back) = flow.to_client else { return Delivered::Nowhere };
        let end = owed.client_isn.plus(1 + owed.octets.len() as u32);
        let name = self.maps.hosts.get(&flow.to_backend.host, 0);
        let host = name.ok().and_then(|name| host_name(&name).parse().ok());
        let host = host.or_else(|| HostName::from_wire(FORGOTTEN).ok());
        match host {
            Some(host) if back.watching != 0 && back.watched == end.0.to_be_bytes() => {
                Delivered::Not(Box::new(entry::splice(&flow, &back, host, owed)))
            }
            Some(_) | None => Delivered::Wholly,
        }
    }

    /// Deletes what a survey has found, as far as it is still so; returns the flows among it.
    pub fn sweep(&mut self, finding: &Finding, now: u64) -> Vec<(Flow, Cause)> {
        match finding {
            Finding::Expired(tuples) => {
                tuples.iter().filter_map(|tuple| self.remove_expired(*tuple, now)).collect()
            }
            Finding::Orphans(keys) => {
                for key in keys {
                    self.remove_orphan(key);
                }
                Vec::new()
            }
            Finding::Names(used, begun) => {
                let maps = &mut self.maps;
                self.hosts.retain(|_, host| {
                    let needed = used.contains(&host.number) || host.last_used >= *begun;
                    needed || maps.hosts.remove(&host.number).is_err()
                });
                Vec::new()
            }
        }
    }

    /// It may have been replaced since.
    fn remove_expired(&mut self, tuple: ClientTuple, now: u64) -> Option<(Flow, Cause)> {
        let flow = self.get(tuple)?;
        let cause = flow.expired(now)?;
        self.remove(tuple).then_some((flow, cause))
    }

    /// Clients choose names, and there may be no room for one more. That is no reason to refuse the connection.
    fn host_number(&mut self, name: &str, now: u64) -> u32 {
        if let Some(host) = self.hosts.get_mut(name) {
            host.last_used = now;
            return host.number;
        }
        let number = self.next_host;
        if self.maps.hosts.insert(number, host(name), 0).is_err() {
            return UNNAMED;
        }
        self.next_host = number.checked_add(1).unwrap_or(FIRST_HOST);
        self.hosts.insert(name.to_owned(), HostNumber { number, last_used: now });
        number
    }
}

fn full(error: MapError) -> InstallError {
    if let MapError::SyscallError(error) = &error
        && error.io_error.raw_os_error() == Some(libc::E2BIG)
    {
        return InstallError::Full;
    }
    InstallError::Kernel(error.into())
}
