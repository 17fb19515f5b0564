//! What we owe the backend after the splice: octets that the client won't send again.

use std::time::{Duration, Instant};

use ingress_common::ip::IPV6_LEAST_MTU;
use ingress_common::tcp::{Flags, HEADERS_V6, Seq};

use super::backend::Peer;
use super::client::Client;
use super::{Action, ClientTuple, Context, HostName, Outcome, Owed, Segment, Splice};
use crate::postgres::{REQUEST_LEN, preamble};

const FIRST_RETRY: Duration = Duration::from_millis(300);
const TRIES: u32 = 6;

/// A spliced connection whose backend has not confirmed everything yet.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) splice: Box<Splice>,
    /// How long the handshake took, if it was this daemon's.
    pub(super) elapsed: Option<Duration>,
    /// What a client's segment looks like to the backend; its payload is what is owed.
    owed: Segment,
    tries: u32,
    next: Instant,
}

/// How far it is after an event.
#[derive(Debug)]
pub(super) enum Delivered {
    Waiting,
    Done,
    Failed(Outcome),
}

/// What a connection is once its flow has been installed.
#[derive(Debug)]
pub(super) enum Installed {
    /// Nothing is owed to the backend.
    Settled(Box<Splice>),
    Owing(Delivery),
}

/// Installs the flow and replays what the client has sent.
pub(super) fn install(
    client: &Client,
    peer: &Peer,
    host: HostName,
    elapsed: Duration,
    cx: &mut Context<'_>,
) -> Installed {
    let owed = client.owed();
    let splice = Box::new(Splice::new(client, peer, host));
    if owed > 0 && client.timestamps.is_some() {
        // Whoever has to repeat it may not show the backend an older clock than this (RFC 7323 §5.2).
        client.owe(cx.out);
    }
    cx.out.push(Action::Install { tuple: client.tuple, splice: splice.clone() });
    let octets = client.stream.octets()[client.preamble()..].to_vec();
    let mut sent = peer.segment(client, client.requests.len(), octets);
    splice.send_to_backend(client.tuple, &sent, cx.out);
    if owed == 0 {
        return Installed::Settled(splice);
    }
    sent.payload.truncate(owed);
    let next = cx.now + FIRST_RETRY;
    Installed::Owing(Delivery { splice, elapsed: Some(elapsed), owed: sent, tries: 1, next })
}

impl Delivery {
    /// Goes on where an earlier daemon stood, and sends everything once more.
    pub(super) fn resume(
        tuple: ClientTuple,
        splice: Box<Splice>,
        owed: &Owed,
        cx: &mut Context<'_>,
    ) -> Self {
        let requests = preamble(&owed.octets);
        let timestamps = owed
            .timestamps
            .filter(|_| splice.ts_delta.is_some())
            .map(|at| splice.stamps_to_backend(at));
        let whole = Segment {
            seq: splice.client_isn.plus(1 + (requests * REQUEST_LEN) as u32),
            ack: splice.backend_isn.plus(1 + requests as u32),
            flags: Flags::ACK.with(Flags::PSH),
            window: splice.window_to_backend(owed.window),
            timestamps,
            payload: owed.octets[requests * REQUEST_LEN..].to_vec(),
            ..Segment::default()
        };
        splice.send_to_backend(tuple, &whole, cx.out);
        let next = cx.now + FIRST_RETRY;
        Self { splice, elapsed: None, owed: whole, tries: 1, next }
    }

    pub(super) fn timeout(&self) -> Instant {
        self.next
    }

    /// Sends everything owed again: the backend is the judge of what it still lacks.
    pub(super) fn on_timeout(&mut self, tuple: ClientTuple, cx: &mut Context<'_>) -> Delivered {
        if cx.now < self.next {
            return Delivered::Waiting;
        }
        if self.tries == TRIES {
            cx.out.push(Action::Uninstall { tuple });
            let to_client = self.owed.ack.plus(self.splice.delta());
            let stamps =
                self.owed.mirrored_timestamps().map(|stamps| self.splice.stamps_to_client(stamps));
            let segment = Segment::reset(to_client, Some(self.owed.end())).stamped(stamps);
            cx.out.push(Action::ToClient { tuple, segment });
            let segment = Segment::reset(self.owed.seq, None).stamped(self.owed.timestamps);
            cx.out.push(Action::ToBackend { tuple, backend: self.splice.backend, segment });
            return Delivered::Failed(Outcome::BackendSilent);
        }
        self.next = cx.now + FIRST_RETRY * 2u32.pow(self.tries);
        self.tries += 1;
        self.splice.send_to_backend(tuple, &self.owed, cx.out);
        Delivered::Waiting
    }

    /// The way is narrower than it looked: all of it goes again, in smaller pieces.
    pub(super) fn on_too_big(&mut self, tuple: ClientTuple, mtu: u32, cx: &mut Context<'_>) {
        let mss = mtu.max(IPV6_LEAST_MTU) - HEADERS_V6;
        if mss < self.splice.mss.into() {
            self.splice.mss = mss as u16;
            self.splice.send_to_backend(tuple, &self.owed, cx.out);
        }
    }

    pub(super) fn on_acknowledgment(&mut self, ack: Seq) -> Delivered {
        let confirmed = ack.since(self.owed.seq);
        let owed = self.owed.payload.len() as i32;
        if (owed..owed + Splice::WATCH_RANGE as i32).contains(&confirmed) {
            return Delivered::Done;
        }
        if (1..owed).contains(&confirmed) {
            self.owed.payload.drain(..confirmed as usize);
            self.owed.seq = ack;
        }
        Delivered::Waiting
    }
}
