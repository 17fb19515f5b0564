//! Flows as they are read back: listed, and judged whether their time is over.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv6Addr, SocketAddrV6},
    time::Duration,
};

use ingress_common::maps::{BackendKey, CLOSING_FIN, CLOSING_RST, ClientKey, ToBackend, ToClient};

use super::{
    Cause, Closings,
    entry::{client_key, flow_key, return_key, tuple},
};
use crate::{
    control::FlowState,
    dataplane::{FlowMaps, host_name},
    handshake::ClientTuple,
};

/// How long an established flow may be idle: RFC 5382 REQ-5 asks for at least 2 h 4 min.
pub const ESTABLISHED: Duration = Duration::from_secs(2 * 3600 + 4 * 60 + 30);
/// How long a flow stays after both FINs or a RST: at least 4 min (RFC 5382 REQ-5, RFC 7857 §2.1).
pub const TRANSITORY: Duration = Duration::from_secs(4 * 60);

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

    /// Whether both sides have closed, or one has reset.
    pub(super) fn is_over(&self) -> bool {
        let fins = [Some(self.to_backend.closing), self.to_client.map(|half| half.closing)];
        let both = fins.iter().all(|half| half.is_none_or(|marks| marks & CLOSING_FIN != 0));
        both || self.closing() & CLOSING_RST != 0
    }

    /// Whether its time is over at `now`, and why.
    pub(super) fn expired(&self, now: u64) -> Option<Cause> {
        let (limit, cause) =
            if self.is_over() { (TRANSITORY, Cause::Closed) } else { (ESTABLISHED, Cause::Idle) };
        let idle = Duration::from_nanos(now.saturating_sub(self.last_seen()));
        (idle > limit).then_some(cause)
    }
}

/// What a look at the whole table finds. It takes its time, so it is taken off the engine's task.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    begun: u64,
    expired: Vec<ClientTuple>,
    orphans: Vec<BackendKey>,
    hosts: HashSet<u32>,
}

/// A piece of a survey, small enough that the engine keeps nobody waiting for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Flows whose time is over.
    Expired(Vec<ClientTuple>),
    /// Ways back of no flow.
    Orphans(Vec<BackendKey>),
    /// The names that flows have, as of a time in nanoseconds since boot.
    Names(HashSet<u32>, u64),
}

/// The most flows of a [`Finding`].
const PIECE: usize = 256;

impl Survey {
    /// Looks at every flow.
    #[must_use]
    pub fn of(maps: &FlowMaps, closings: &Closings, now: u64) -> Self {
        let mut survey = Self { begun: now, ..Self::default() };
        for mut flow in maps.flows() {
            closings.mark(&mut flow);
            survey.hosts.insert(flow.to_backend.host);
            if flow.expired(now).is_some() {
                survey.expired.push(flow.tuple);
            }
        }
        survey
    }

    /// And at every way back, for those that a crash has left without their flow.
    #[must_use]
    pub fn with_orphans(mut self, maps: &FlowMaps) -> Self {
        let ways = maps.to_client.iter().filter_map(Result::ok);
        self.orphans =
            ways.filter(|(key, half)| maps.is_orphan(key, half)).map(|(key, _)| key).collect();
        self
    }

    /// Piece by piece.
    pub fn findings(self) -> impl Iterator<Item = Finding> {
        let expired = pieces(self.expired).map(Finding::Expired);
        let orphans = pieces(self.orphans).map(Finding::Orphans);
        expired.chain(orphans).chain([Finding::Names(self.hosts, self.begun)])
    }
}

fn pieces<T>(mut left: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let piece = left.split_off(left.len().saturating_sub(PIECE));
        (!piece.is_empty()).then_some(piece)
    })
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

    pub(super) fn get(&self, tuple: ClientTuple) -> Option<Flow> {
        let key = client_key(tuple);
        self.to_backend.get(&key, 0).ok().map(|half| self.flow(&key, half))
    }

    /// Whether a way back belongs to no flow.
    pub(super) fn is_orphan(&self, key: &BackendKey, half: &ToClient) -> bool {
        let flow = flow_key(key, half);
        let there = self.to_backend.get(&flow, 0);
        !there.is_ok_and(|half| return_key(&flow, &half) == *key)
    }

    fn flow(&self, key: &ClientKey, half: ToBackend) -> Flow {
        Flow {
            tuple: tuple(key),
            to_backend: half,
            to_client: self.to_client.get(&return_key(key, &half), 0).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 1_000_000 * SECOND;
    const SHORT: u64 = 4 * 60;
    const LONG: u64 = 2 * 3600 + 4 * 60 + 30;

    /// A flow whose halves were last seen so many seconds ago, with these marks.
    fn flow(there: (u64, u8), back: Option<(u64, u8)>) -> Flow {
        let seen = |ago: u64| NOW - ago * SECOND;
        Flow {
            tuple: ClientTuple {
                client: "192.0.2.1:40000".parse().unwrap(),
                listen: "198.51.100.2:443".parse().unwrap(),
            },
            to_backend: ToBackend {
                last_seen: seen(there.0),
                closing: there.1,
                ..ToBackend::default()
            },
            to_client: back.map(|(ago, closing)| ToClient {
                last_seen: seen(ago),
                closing,
                ..ToClient::default()
            }),
        }
    }

    #[test]
    fn an_established_flow_may_be_idle_for_two_hours_and_four_minutes() {
        for (there, back, expired) in [
            (LONG, LONG, None),
            (LONG + 1, LONG, None),
            (LONG, LONG + 1, None),
            (LONG + 1, LONG + 1, Some(Cause::Idle)),
        ] {
            let flow = flow((there, 0), Some((back, 0)));
            assert_eq!((flow.expired(NOW), flow.state()), (expired, FlowState::Established));
        }
    }

    #[test]
    fn one_fin_is_a_half_closed_connection_and_two_are_its_end() {
        let ago = SHORT + 1;
        let half = flow((ago, CLOSING_FIN), Some((ago, 0)));
        assert_eq!((half.expired(NOW), half.state()), (None, FlowState::Closing));
        assert_eq!(flow((ago, 0), Some((ago, CLOSING_FIN))).expired(NOW), None);
        let both = |ago| flow((ago, CLOSING_FIN), Some((ago, CLOSING_FIN)));
        assert_eq!(both(SHORT).expired(NOW), None);
        assert_eq!(both(ago).expired(NOW), Some(Cause::Closed));
        let still_speaks = flow((ago, CLOSING_FIN), Some((1, CLOSING_FIN)));
        assert_eq!(still_speaks.expired(NOW), None);
        let for_ever = flow((LONG + 1, CLOSING_FIN), Some((LONG + 1, 0)));
        assert_eq!(for_ever.expired(NOW), Some(Cause::Idle));
    }

    #[test]
    fn a_reset_from_either_side_is_the_end() {
        for (there, back) in [(CLOSING_RST, 0), (0, CLOSING_RST), (CLOSING_RST, CLOSING_FIN)] {
            let flow = |ago| flow((ago, there), Some((ago, back)));
            assert_eq!(flow(SHORT).expired(NOW), None);
            assert_eq!(flow(SHORT + 1).expired(NOW), Some(Cause::Closed));
        }
    }

    /// Only a crash between the two writes leaves one alone.
    #[test]
    fn half_a_flow_is_judged_by_itself() {
        assert_eq!(flow((SHORT + 1, 0), None).expired(NOW), None);
        assert_eq!(flow((SHORT + 1, CLOSING_FIN), None).expired(NOW), Some(Cause::Closed));
        assert_eq!(flow((LONG + 1, 0), None).expired(NOW), Some(Cause::Idle));
    }

    /// A packet may be counted after the look at the clock.
    #[test]
    fn what_was_seen_later_than_now_is_not_idle() {
        let mut flow = flow((0, CLOSING_RST), None);
        flow.to_backend.last_seen = NOW + SECOND;
        assert_eq!(flow.expired(NOW), None);
    }
}
