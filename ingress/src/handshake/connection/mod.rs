//! One handshake: its phases, and what each event means in each of them.

mod steps;

use std::net::SocketAddrV6;
use std::time::{Duration, Instant};

use ingress_common::tcp::{Flags, Seq, SynOptions};

use super::backend::Attempt;
use super::client::Client;
use super::delivery::Delivery;
use super::limits::Held;
use super::reading::Reading;
use super::recent::AfterEnd;
use super::refusal::{Progress, Refusing};
use super::{
    Admission, Backend, ClientTuple, Context, HostName, Outcome, Owed, Protocol, ResolveError,
    Segment, Splice,
};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) host: Option<HostName>,
    pub(super) started: Instant,
    phase: Phase,
}

/// A handshake goes down this list; every phase may lead to `Refusing` or to the end.
#[derive(Debug)]
enum Phase {
    /// The ClientHello is not complete.
    Reading(Reading),
    /// The name is being looked up, until then.
    Resolving(Instant),
    /// A backend is being connected.
    Connecting(Attempt),
    /// The flow stands, and we owe the backend octets.
    Delivering(Delivery),
    /// The client is being told no.
    Refusing(Refusing),
}

/// How a connection ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    /// None of a delivery that an earlier daemon began.
    pub(super) elapsed: Option<Duration>,
    pub(super) after: AfterEnd,
}

impl Connection {
    pub(super) fn new(tuple: ClientTuple, admission: &Admission, cx: &Context<'_>) -> Self {
        let reading = Reading::new(admission, cx.now + cx.limits.hello_deadline);
        Self {
            client: Client::new(tuple, admission),
            host: None,
            started: cx.now,
            phase: Phase::Reading(reading),
        }
    }

    /// One whose flow an earlier daemon has installed, without delivering what it owed.
    pub(super) fn delivering(
        tuple: ClientTuple,
        splice: Box<Splice>,
        owed: &Owed,
        cx: &mut Context<'_>,
    ) -> Self {
        // Nothing is read any more, so what could be read does not matter.
        let admission = Admission {
            cookie: splice.cookie,
            client_isn: Some(splice.client_isn),
            options: SynOptions::default(),
            promised_scale: splice.promised_scale,
            protocol: Protocol::Tls,
            default_host: None,
        };
        let mut connection = Self::new(tuple, &admission, cx);
        connection.client.stream.begin(owed.client_isn.plus(1));
        connection.host = Some(splice.host.clone());
        connection.phase = Phase::Delivering(Delivery::resume(tuple, splice, owed, cx));
        connection
    }

    pub(super) fn timeout(&self) -> Instant {
        match &self.phase {
            Phase::Reading(reading) => reading.timeout(),
            Phase::Resolving(until) => *until,
            Phase::Connecting(attempt) => attempt.timeout(),
            Phase::Delivering(delivery) => delivery.timeout(),
            Phase::Refusing(refusing) => refusing.timeout(),
        }
    }

    /// What it holds of what others need, too.
    pub(super) fn held(&self) -> Held {
        let lookups = usize::from(matches!(self.phase, Phase::Resolving(_)));
        Held { connections: 1, octets: self.client.stream.held(), lookups }
    }

    /// Ends it, since it holds too much.
    pub(super) fn give_up(&mut self, outcome: Outcome, cx: &mut Context<'_>) -> Option<End> {
        self.abandon_backend(cx);
        if let Some(end) = self.close() {
            // What was decided before stays decided.
            self.client.reset(cx.out);
            return Some(End { after: AfterEnd::Reset, ..end });
        }
        self.refuse(outcome, cx)
    }

    pub(super) fn backend(&self) -> Option<&Backend> {
        match &self.phase {
            Phase::Connecting(attempt) => Some(attempt.backend()),
            Phase::Delivering(delivery) => Some(&delivery.splice.backend),
            Phase::Reading(_) | Phase::Resolving(_) | Phase::Refusing(_) => None,
        }
    }

    pub(super) fn on_client(
        &mut self,
        admission: Option<&Admission>,
        segment: Segment,
        cx: &mut Context<'_>,
    ) -> Option<End> {
        if let Phase::Delivering(delivery) = &self.phase {
            delivery.splice.pass_to_backend(self.client.tuple, segment, cx.out);
            return None;
        }
        if self.client.accepts_ack(&segment) {
            self.client.hear(&segment);
        }
        if let Phase::Reading(reading) = &mut self.phase
            && let Some(isn) = admission.and_then(|admission| admission.client_isn)
        {
            reading.begin(isn.plus(1), &segment.payload, &mut self.client, cx.now);
        }
        if segment.has(Flags::SYN) {
            return None;
        }
        if let Phase::Refusing(refusing) = &mut self.phase {
            return match refusing.on_segment(&mut self.client, segment, cx) {
                Progress::Waiting => None,
                Progress::Done => self.close(),
            };
        }
        if segment.has(Flags::RST) {
            return self.on_reset(segment.seq, cx);
        }
        if !self.client.accepts_ack(&segment) {
            return None;
        }
        self.client.window = segment.window;
        if let Phase::Reading(reading) = &mut self.phase {
            let read = reading.on_segment(&mut self.client, segment, cx);
            return self.on_read(read, cx);
        }
        if self.client.repeats(&segment) {
            self.client.repeat_acknowledgment(cx.out);
        }
        let fin = segment.has(Flags::FIN);
        self.client.stream.insert(segment.seq, segment.payload, fin);
        None
    }

    pub(super) fn on_resolved(
        &mut self,
        host: &HostName,
        result: Result<Vec<Backend>, ResolveError>,
        cx: &mut Context<'_>,
    ) -> Option<End> {
        if !matches!(self.phase, Phase::Resolving(_)) || self.host.as_ref() != Some(host) {
            return None;
        }
        let backends = match result {
            Ok(backends) => backends,
            Err(ResolveError::NotFound) => return self.refuse(Outcome::UnknownName, cx),
            Err(ResolveError::OutsidePrefixes) => {
                return self.refuse(Outcome::OutsidePrefixes, cx);
            }
            Err(ResolveError::Denied) => return self.refuse(Outcome::DeniedName, cx),
            Err(ResolveError::Failed) => return self.refuse(Outcome::DnsFailed, cx),
            Err(ResolveError::PortTaken) => return self.refuse(Outcome::PortTaken, cx),
        };
        match Attempt::start(backends, &self.client, cx) {
            Some(attempt) => {
                self.phase = Phase::Connecting(attempt);
                None
            }
            None => self.refuse(Outcome::UnknownName, cx),
        }
    }

    pub(super) fn on_backend(
        &mut self,
        from: SocketAddrV6,
        segment: Segment,
        cx: &mut Context<'_>,
    ) -> Option<End> {
        match &mut self.phase {
            Phase::Connecting(attempt) if attempt.backend().address == from => {
                let reached = attempt.on_segment(&segment, &self.client, cx);
                self.on_reached(reached, cx)
            }
            Phase::Delivering(delivery) if delivery.splice.backend.address == from => {
                delivery.splice.pass_to_client(self.client.tuple, segment, cx.out);
                None
            }
            Phase::Reading(_)
            | Phase::Resolving(_)
            | Phase::Connecting(_)
            | Phase::Delivering(_)
            | Phase::Refusing(_) => None,
        }
    }

    pub(super) fn on_unreachable(
        &mut self,
        backend: SocketAddrV6,
        cx: &mut Context<'_>,
    ) -> Option<End> {
        match &mut self.phase {
            Phase::Connecting(attempt) if attempt.backend().address == backend => {
                let reached = attempt.on_unreachable(&self.client, cx);
                self.on_reached(reached, cx)
            }
            Phase::Reading(_)
            | Phase::Resolving(_)
            | Phase::Connecting(_)
            | Phase::Delivering(_)
            | Phase::Refusing(_) => None,
        }
    }

    pub(super) fn on_too_big(&mut self, mtu: u32, cx: &mut Context<'_>) -> Option<End> {
        if let Phase::Delivering(delivery) = &mut self.phase {
            delivery.on_too_big(self.client.tuple, mtu, cx);
        }
        None
    }

    pub(super) fn on_backend_acked(&mut self, ack: Seq) -> Option<End> {
        match &mut self.phase {
            Phase::Delivering(delivery) => {
                let delivered = delivery.on_acknowledgment(ack);
                self.on_delivered(delivered)
            }
            Phase::Reading(_) | Phase::Resolving(_) | Phase::Connecting(_) | Phase::Refusing(_) => {
                None
            }
        }
    }

    pub(super) fn on_timeout(&mut self, cx: &mut Context<'_>) -> Option<End> {
        match &mut self.phase {
            Phase::Reading(reading) => {
                let read = reading.on_timeout(&mut self.client, cx);
                self.on_read(read, cx)
            }
            Phase::Resolving(until) if cx.now >= *until => self.refuse(Outcome::DnsFailed, cx),
            Phase::Resolving(_) => None,
            Phase::Connecting(attempt) => {
                let reached = attempt.on_timeout(&self.client, cx);
                self.on_reached(reached, cx)
            }
            Phase::Delivering(delivery) => {
                let delivered = delivery.on_timeout(self.client.tuple, cx);
                self.on_delivered(delivered)
            }
            Phase::Refusing(refusing) => match refusing.on_timeout(&mut self.client, cx) {
                Progress::Waiting => None,
                Progress::Done => self.close(),
            },
        }
    }

    /// Another connection takes the tuple over.
    pub(super) fn replace(mut self, cx: &mut Context<'_>) -> End {
        self.abandon_backend(cx);
        // What was decided before stays decided.
        self.close().unwrap_or_else(|| self.end(Outcome::Replaced, AfterEnd::Closed, cx))
    }
}
