//! The sans-IO heart: from a client's first bytes to a spliced connection.
//!
//! Events and the time go in, actions come out. There is no socket, clock, map or task in this module. Read
//! `connection` first: it has the phases, and each phase has its file (`reading`, `backend`, `delivery`, `refusal`).
//! `client` and `stream` are what all of them know about the client, `recent` is what stays of an ended connection.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use ingress_common::tcp::Flags;

use crate::fairness::Refused;
use crate::host_name::HostName;
use crate::postgres::{REQUEST_LEN, preamble};

mod backend;
mod client;
mod connection;
mod delivery;
mod event;
mod limits;
mod outcome;
mod reading;
mod recent;
mod refusal;
mod segment;
mod splice;
mod stream;
#[cfg(test)]
mod tests;

pub use event::{
    Action, Admission, Backend, ClientTuple, Event, Owed, Promise, Protocol, ResolveError, Sender,
};
pub use limits::Limits;
pub use outcome::Outcome;
pub use segment::Segment;
pub use splice::Splice;

use connection::{Connection, End};
use limits::{Held, Ledger};
use recent::Recent;

/// What every step of a handshake has at hand.
struct Context<'a> {
    now: Instant,
    limits: &'a Limits,
    out: &'a mut Vec<Action>,
}

/// A handshake in progress, for lists.
#[derive(Clone, Copy, Debug)]
pub struct InProgress<'a> {
    /// The connection.
    pub tuple: ClientTuple,
    /// The name, once it is known.
    pub host: Option<&'a HostName>,
    /// The backend that is being connected.
    pub backend: Option<&'a Backend>,
    /// When its first octets came.
    pub started: Instant,
}

/// Every handshake in progress.
#[derive(Debug)]
pub struct Handshakes {
    limits: Limits,
    connections: HashMap<ClientTuple, Connection>,
    /// The timeout of every connection, soonest first.
    timeouts: BTreeSet<(Instant, ClientTuple)>,
    ledger: Ledger,
    recent: Recent,
}

impl Handshakes {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            connections: HashMap::new(),
            timeouts: BTreeSet::new(),
            ledger: Ledger::default(),
            recent: Recent::default(),
        }
    }

    /// Takes an event in and appends what is to be done.
    pub fn handle(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) {
        let tuple = event.tuple();
        match event {
            Event::Client { segment, admission, .. } => {
                self.on_client(now, tuple, segment, admission, out);
            }
            Event::Backend { from, segment, .. } if !self.connections.contains_key(&tuple) => {
                self.recent.on_backend(tuple, from, segment, out);
            }
            Event::Backend { from, segment, .. } => {
                self.step(now, tuple, out, |connection, cx| {
                    connection.on_backend(from, segment, cx)
                });
            }
            Event::Unreachable { backend, .. } => {
                self.step(now, tuple, out, |connection, cx| connection.on_unreachable(backend, cx));
            }
            Event::TooBig { mtu, .. } => {
                self.step(now, tuple, out, |connection, cx| connection.on_too_big(mtu, cx));
            }
            Event::Resolved { host, result, .. } => {
                self.step(now, tuple, out, |connection, cx| {
                    connection.on_resolved(&host, result, cx)
                });
            }
            Event::BackendAcked { ack, .. } => {
                self.step(now, tuple, out, |connection, _| connection.on_backend_acked(ack));
            }
        }
    }

    /// Resumes an earlier daemon's handshake, of which these octets were acknowledged. They are read again as if they had
    /// just come; what the client is told has the same numbers as before, so it sees repetitions. A connection to a
    /// backend that was being made is made anew.
    pub fn resume(
        &mut self,
        now: Instant,
        tuple: ClientTuple,
        admission: &Admission,
        owed: &Owed,
        out: &mut Vec<Action>,
    ) {
        let requests = match admission.protocol {
            Protocol::Tls => 0,
            Protocol::Postgres => preamble(&owed.octets),
        };
        let (requests, hello) = owed.octets.split_at(requests * REQUEST_LEN);
        let mut segment = Segment {
            seq: owed.client_isn.plus(1),
            ack: owed.cookie.plus(1),
            flags: Flags::ACK,
            window: owed.window,
            timestamps: owed.timestamps,
            ..Segment::default()
        };
        let mut first = Some(admission.clone());
        for piece in requests.chunks(REQUEST_LEN).chain([hello]).filter(|piece| !piece.is_empty()) {
            segment.payload = piece.to_vec();
            self.on_client(now, tuple, segment.clone(), first.take(), out);
            segment.seq = segment.end();
            // What followed a request had waited for its answer of one octet.
            segment.ack = segment.ack.plus(1);
        }
        // Requests have been acknowledged with their answers. Were that done again without one, a client to whom
        // the answer was lost would wait for ever.
        if let Some(connection) = self.connections.get_mut(&tuple)
            && connection.client.preamble() < owed.octets.len()
        {
            connection.client.acknowledge(out);
        }
    }

    /// Goes on with an earlier daemon's delivery of these octets, to the backend of a flow that stands.
    pub fn resume_delivery(
        &mut self,
        now: Instant,
        tuple: ClientTuple,
        splice: Box<Splice>,
        owed: Owed,
        out: &mut Vec<Action>,
    ) {
        let mut cx = Context { now, limits: &self.limits, out };
        let connection = Connection::delivering(tuple, splice, &owed, &mut cx);
        self.ledger.change(tuple.neighbourhood(), Held::default(), connection.held());
        self.timeouts.insert((connection.timeout(), tuple));
        self.connections.insert(tuple, connection);
        out.push(Action::Owe { tuple, owed });
    }

    /// The flow of a connection was ended from outside: what is owed to its backend is owed no more.
    pub fn end_delivery(&mut self, now: Instant, tuple: ClientTuple, out: &mut Vec<Action>) {
        self.step(now, tuple, out, |connection, _| connection.end_delivery());
    }

    /// Tells that the flow of a handshake that has just ended was not written, and that both ends were reset instead: what
    /// the client repeats is answered with a reset and does not reach the backend.
    pub fn not_installed(&mut self, tuple: ClientTuple) {
        self.recent.not_installed(&tuple);
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let soonest = self.timeouts.first().map(|&(at, _)| at);
        soonest.into_iter().chain(self.recent.timeout()).min()
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.recent.forget_old(now);
        while let Some(&(at, tuple)) = self.timeouts.first() {
            if at > now {
                break;
            }
            self.step(now, tuple, out, Connection::on_timeout);
        }
    }

    /// Handshakes in progress.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether none is in progress.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// The handshakes in progress, in no order.
    pub fn iter(&self) -> impl Iterator<Item = InProgress<'_>> {
        self.connections.iter().map(|(&tuple, connection)| InProgress {
            tuple,
            host: connection.host.as_ref(),
            backend: connection.backend(),
            started: connection.started,
        })
    }

    fn on_client(
        &mut self,
        now: Instant,
        tuple: ClientTuple,
        segment: Segment,
        admission: Option<Admission>,
        out: &mut Vec<Action>,
    ) {
        let cookie = admission.as_ref().map(|admission| admission.cookie);
        let current = self.connections.get(&tuple).map(|connection| &connection.client);
        // The acknowledgment of what was said after the cookie looks like another cookie now and then.
        let goes_on = current.is_some_and(|client| {
            cookie.is_none_or(|cookie| cookie == client.cookie) || client.accepts_ack(&segment)
        });
        let current = current.map(|client| client.cookie);
        if goes_on {
            let admission = admission.filter(|admission| Some(admission.cookie) == current);
            self.step(now, tuple, out, |connection, cx| {
                connection.on_client(admission.as_ref(), segment, cx)
            });
            return;
        }
        let late = match (current, cookie) {
            (Some(_), Some(cookie)) => self.recent.knows(&tuple, cookie),
            (Some(_), None) => false,
            (None, _) => self.recent.on_client(tuple, cookie, &segment, out),
        };
        if late {
            return;
        }
        if let Some(admission) = admission
            && !segment.payload.is_empty()
        {
            self.admit(now, tuple, segment, &admission, out);
        }
    }

    /// Begins a handshake. One that is in progress on the same tuple belongs to a connection that the client has given
    /// up: a valid cookie proves it, for a client has only one connection on a tuple.
    fn admit(
        &mut self,
        now: Instant,
        tuple: ClientTuple,
        segment: Segment,
        admission: &Admission,
        out: &mut Vec<Action>,
    ) {
        let source = tuple.neighbourhood();
        if let Some(old) = self.connections.remove(&tuple) {
            self.timeouts.remove(&(old.timeout(), tuple));
            self.ledger.change(source, old.held(), Held::default());
            let (host, cookie) = (old.host.clone(), old.client.cookie);
            let End { outcome, elapsed, after } =
                old.replace(&mut Context { now, limits: &self.limits, out });
            self.recent.remember(tuple, cookie, after, self.limits.connections, now);
            out.push(Action::Finish { tuple, outcome, host, elapsed });
        }
        let one = Held { connections: 1, ..Held::default() };
        if let Err(refused) = self.ledger.allows(&self.limits, source, Held::default(), one) {
            let stamps = segment.mirrored_timestamps();
            let reset = Segment::reset(segment.ack, Some(segment.end())).stamped(stamps);
            out.push(Action::ToClient { tuple, segment: reset });
            let (outcome, elapsed) = (refused.into(), Some(Duration::ZERO));
            out.push(Action::Finish { tuple, outcome, host: None, elapsed });
            return;
        }
        out.push(Action::Pend { tuple });
        let cx = Context { now, limits: &self.limits, out };
        let connection = Connection::new(tuple, admission, &cx);
        self.ledger.change(source, Held::default(), one);
        self.timeouts.insert((connection.timeout(), tuple));
        self.connections.insert(tuple, connection);
        self.step(now, tuple, out, |connection, cx| {
            connection.on_client(Some(admission), segment, cx)
        });
    }

    /// Has a connection take a step, and updates the table accordingly.
    fn step(
        &mut self,
        now: Instant,
        tuple: ClientTuple,
        out: &mut Vec<Action>,
        step: impl FnOnce(&mut Connection, &mut Context<'_>) -> Option<End>,
    ) {
        let Some(connection) = self.connections.get_mut(&tuple) else { return };
        let (old_timeout, held, source) =
            (connection.timeout(), connection.held(), tuple.neighbourhood());
        let done = out.len();
        let mut end = step(connection, &mut Context { now, limits: &self.limits, out });
        if end.is_none()
            && let Err(refused) = self.ledger.allows(&self.limits, source, held, connection.held())
        {
            // Then it shall not be looked up either.
            let asked = out.split_off(done);
            out.extend(
                asked.into_iter().filter(|action| !matches!(action, Action::Resolve { .. })),
            );
            end =
                connection.give_up(refused.into(), &mut Context { now, limits: &self.limits, out });
        }
        let timeout = connection.timeout();
        self.ledger.change(source, held, connection.held());
        if old_timeout != timeout || end.is_some() {
            self.timeouts.remove(&(old_timeout, tuple));
            self.timeouts.insert((timeout, tuple));
        }
        if let Some(End { outcome, elapsed, after }) = end
            && let Some(connection) = self.connections.remove(&tuple)
        {
            self.timeouts.remove(&(timeout, tuple));
            self.ledger.change(source, connection.held(), Held::default());
            let (cookie, capacity) = (connection.client.cookie, self.limits.connections);
            self.recent.remember(tuple, cookie, after, capacity, now);
            out.push(Action::Finish { tuple, outcome, host: connection.host, elapsed });
        }
    }
}

impl From<Refused> for Outcome {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Overloaded,
            Refused::Crowded => Self::Crowded,
        }
    }
}
