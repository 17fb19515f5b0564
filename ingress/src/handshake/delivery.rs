//! The splice itself, and what we owe the backend after it: octets that the client won't send again.

use std::time::{Duration, Instant};

use ingress_common::tcp::{Flags, Seq, SynOptions};

use super::backend::Peer;
use super::client::Client;
use super::{Action, ClientTuple, HostName, Outcome, Segment, Splice, Turn};

const FIRST_RETRY: Duration = Duration::from_millis(300);
const TRIES: u32 = 6;
/// IPv6's least MTU, and what of it headers take.
const LEAST_MTU: u32 = 1280;
const HEADERS: u32 = 40 + 20;

/// A spliced connection whose backend has not confirmed everything yet.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) splice: Box<Splice>,
    pub(super) elapsed: Duration,
    /// What a client's segment looks like to the backend; its payload is what is owed.
    owed: Segment,
    mss: u16,
    tries: u32,
    next: Instant,
}

#[derive(Debug)]
pub(super) enum Delivered {
    Waiting,
    Done,
    Failed(Outcome),
}

/// Writes the flow and replays what the client has sent. Returns the splice, and what is owed.
pub(super) fn deliver(
    client: &Client,
    peer: &Peer,
    host: HostName,
    elapsed: Duration,
    turn: &mut Turn<'_>,
) -> Result<Delivery, Box<Splice>> {
    let begin = client.preamble();
    let seq = client.stream.base().plus(begin as u32);
    // A FIN that came with the octets is the client's to repeat.
    let until = client.acknowledged().min(client.stream.len()) as usize;
    let owed = &client.stream.octets()[begin..until.max(begin)];
    let offered = client.options(peer.backend.mss_limit);
    let splice = Box::new(Splice {
        backend: peer.backend,
        host,
        client_isn: client.isn(),
        cookie: client.cookie,
        backend_isn: peer.isn,
        promised_scale: client.promised_scale(),
        client_scale: offered.window_scale,
        backend_scale: peer.window_scale,
        client_sack: offered.sack_permitted,
        backend_sack: peer.sack_permitted,
        watch: (!owed.is_empty()).then(|| seq.plus(owed.len() as u32)),
    });
    turn.out.push(Action::Install { tuple: client.tuple, splice: splice.clone() });
    let mut whole = Segment {
        seq,
        ack: peer.isn.plus(1 + client.requests.len() as u32),
        flags: Flags::ACK,
        window: peer.window(client),
        options: SynOptions::default(),
        payload: client.stream.octets()[begin..].to_vec(),
    };
    send(client.tuple, &splice, &whole, peer.mss, turn.out);
    if owed.is_empty() {
        return Err(splice);
    }
    whole.payload.truncate(owed.len());
    let next = turn.now + FIRST_RETRY;
    Ok(Delivery { splice, elapsed, owed: whole, mss: peer.mss, tries: 1, next })
}

/// Sends a payload of any length in segments.
fn send(tuple: ClientTuple, splice: &Splice, whole: &Segment, mss: u16, out: &mut Vec<Action>) {
    let pieces = whole.payload.chunks(mss.into());
    let last = pieces.len() - 1;
    let mut seq = whole.seq;
    for (index, piece) in pieces.enumerate() {
        let flags = if index == last { whole.flags.with(Flags::PSH) } else { whole.flags };
        let segment = Segment { seq, flags, payload: piece.to_vec(), ..*whole };
        seq = segment.end();
        out.push(Action::ToBackend { tuple, backend: splice.backend, segment });
    }
}

impl Delivery {
    pub(super) fn timeout(&self) -> Instant {
        self.next
    }

    /// Sends everything owed again: the backend is the judge of what it still lacks.
    pub(super) fn on_timeout(&mut self, tuple: ClientTuple, turn: &mut Turn<'_>) -> Delivered {
        if turn.now < self.next {
            return Delivered::Waiting;
        }
        if self.tries == TRIES {
            turn.out.push(Action::Uninstall { tuple });
            let to_client = self.owed.ack.plus(self.splice.delta());
            let segment = Segment::reset(to_client, Some(self.owed.end()));
            turn.out.push(Action::ToClient { tuple, segment });
            let segment = Segment::reset(self.owed.seq, None);
            turn.out.push(Action::ToBackend { tuple, backend: self.splice.backend, segment });
            return Delivered::Failed(Outcome::BackendSilent);
        }
        self.next = turn.now + FIRST_RETRY * 2u32.pow(self.tries);
        self.tries += 1;
        send(tuple, &self.splice, &self.owed, self.mss, turn.out);
        Delivered::Waiting
    }

    /// The way is narrower than it looked: all of it goes again, in smaller pieces.
    pub(super) fn on_too_big(&mut self, tuple: ClientTuple, mtu: u32, turn: &mut Turn<'_>) {
        let mss = u16::try_from(mtu.max(LEAST_MTU) - HEADERS).unwrap_or(u16::MAX);
        if mss < self.mss {
            self.mss = mss;
            send(tuple, &self.splice, &self.owed, mss, turn.out);
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

impl Splice {
    /// Passes on a client's segment that was handed up before the flow stood.
    pub(super) fn pass_to_backend(
        &self,
        tuple: ClientTuple,
        mut segment: Segment,
        out: &mut Vec<Action>,
    ) {
        let speaks =
            !segment.payload.is_empty() || segment.flags.intersects(Flags::FIN.with(Flags::RST));
        if !speaks || segment.has(Flags::SYN) {
            return;
        }
        segment.ack = segment.ack.minus(self.delta());
        if self.backend_scale.is_none() {
            let window = u32::from(segment.window) << self.client_scale.unwrap_or(0);
            segment.window = window.min(u16::MAX.into()) as u16;
        }
        out.push(Action::ToBackend { tuple, backend: self.backend, segment });
    }

    /// Passes on a backend's segment that was handed up before the flow stood.
    pub(super) fn pass_to_client(
        &self,
        tuple: ClientTuple,
        mut segment: Segment,
        out: &mut Vec<Action>,
    ) {
        if segment.has(Flags::SYN) {
            return;
        }
        segment.seq = segment.seq.plus(self.delta());
        let window = u64::from(segment.window) << self.backend_scale.unwrap_or(0);
        let scaled = (window >> self.promised_scale.unwrap_or(0)).min(u16::MAX.into()) as u16;
        segment.window = if segment.window == 0 { 0 } else { scaled.max(1) };
        out.push(Action::ToClient { tuple, segment });
    }
}
