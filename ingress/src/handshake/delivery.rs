//! The splice itself, and what we owe the backend after it: octets that the client won't send again.

use std::time::{Duration, Instant};

use ingress_common::{
    ip::IPV6_LEAST_MTU,
    splice::rescale,
    tcp::{Flags, HEADERS_V6, Seq, SynOptions, Timestamps},
};

use super::backend::Peer;
use super::client::Client;
use super::{Action, ClientTuple, HostName, Outcome, Owed, Segment, Sender, Splice, Turn};
use crate::postgres::{REQUEST_LEN, preamble};

const FIRST_RETRY: Duration = Duration::from_millis(300);
const TRIES: u32 = 6;
const CLOSING: Flags = Flags::FIN.with(Flags::RST);

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
        announced: peer.announced,
        mss: peer.mss,
        ts_delta: client
            .timestamps
            .zip(peer.clock)
            .map(|(ours, theirs)| ours.value.wrapping_sub(theirs.first)),
        watch: (!owed.is_empty()).then(|| seq.plus(owed.len() as u32)),
    });
    if !owed.is_empty() && client.timestamps.is_some() {
        // Whoever has to repeat it may not show the backend an older clock than this (RFC 7323 §5.2).
        client.owe(turn.out);
    }
    turn.out.push(Action::Install { tuple: client.tuple, splice: splice.clone() });
    let mut whole = Segment {
        seq,
        ack: peer.isn.plus(1 + client.requests.len() as u32),
        flags: Flags::ACK.with(Flags::PSH),
        window: peer.window(client),
        options: SynOptions::default(),
        timestamps: peer.timestamps(client),
        payload: client.stream.octets()[begin..].to_vec(),
    };
    splice.send_to_backend(client.tuple, &whole, turn.out);
    if owed.is_empty() {
        return Err(splice);
    }
    whole.payload.truncate(owed.len());
    let next = turn.now + FIRST_RETRY;
    Ok(Delivery { splice, elapsed: Some(elapsed), owed: whole, tries: 1, next })
}

impl Delivery {
    /// Goes on where an earlier daemon stood, and sends everything once more.
    pub(super) fn take_up(
        tuple: ClientTuple,
        splice: Box<Splice>,
        owed: &Owed,
        turn: &mut Turn<'_>,
    ) -> Self {
        let requests = preamble(&owed.octets);
        let timestamps =
            owed.timestamps.filter(|_| splice.ts_delta.is_some()).map(|at| splice.to_backend(at));
        let whole = Segment {
            seq: splice.client_isn.plus(1 + (requests * REQUEST_LEN) as u32),
            ack: splice.backend_isn.plus(1 + requests as u32),
            flags: Flags::ACK.with(Flags::PSH),
            window: splice.window_to_backend(owed.window),
            timestamps,
            payload: owed.octets[requests * REQUEST_LEN..].to_vec(),
            ..Segment::default()
        };
        splice.send_to_backend(tuple, &whole, turn.out);
        let next = turn.now + FIRST_RETRY;
        Self { splice, elapsed: None, owed: whole, tries: 1, next }
    }

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
            let stamps =
                self.owed.mirrored_timestamps().map(|stamps| self.splice.to_client(stamps));
            let segment = Segment::reset(to_client, Some(self.owed.end())).stamped(stamps);
            turn.out.push(Action::ToClient { tuple, segment });
            let segment = Segment::reset(self.owed.seq, None).stamped(self.owed.timestamps);
            turn.out.push(Action::ToBackend { tuple, backend: self.splice.backend, segment });
            return Delivered::Failed(Outcome::BackendSilent);
        }
        self.next = turn.now + FIRST_RETRY * 2u32.pow(self.tries);
        self.tries += 1;
        self.splice.send_to_backend(tuple, &self.owed, turn.out);
        Delivered::Waiting
    }

    /// The way is narrower than it looked: all of it goes again, in smaller pieces.
    pub(super) fn on_too_big(&mut self, tuple: ClientTuple, mtu: u32, turn: &mut Turn<'_>) {
        let mss = mtu.max(IPV6_LEAST_MTU) - HEADERS_V6;
        if mss < self.splice.mss.into() {
            self.splice.mss = mss as u16;
            self.splice.send_to_backend(tuple, &self.owed, turn.out);
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
    /// A backend that refused scaling takes windows at their word.
    fn window_to_backend(&self, window: u16) -> u16 {
        match (self.backend_scale, self.client_scale) {
            (None, Some(scale)) => rescale(window, scale, 0),
            (Some(_), _) | (None, None) => window,
        }
    }

    fn to_backend(&self, stamps: Timestamps) -> Timestamps {
        Timestamps { echo: stamps.echo.wrapping_sub(self.ts_delta.unwrap_or(0)), ..stamps }
    }

    fn to_client(&self, stamps: Timestamps) -> Timestamps {
        Timestamps { value: stamps.value.wrapping_add(self.ts_delta.unwrap_or(0)), ..stamps }
    }

    /// Cuts a segment with any amount of data to what both ends and the tunnel take.
    fn cut(&self, segment: &Segment) -> impl Iterator<Item = Segment> {
        let options = segment.timestamps.map_or(0, |_| Timestamps::LEN);
        segment.cut(usize::from(self.mss) - options)
    }

    fn send_to_backend(&self, tuple: ClientTuple, segment: &Segment, out: &mut Vec<Action>) {
        let backend = self.backend;
        let pieces = self.cut(segment);
        out.extend(pieces.map(|segment| Action::ToBackend { tuple, backend, segment }));
    }

    /// Passes on a client's segment that was handed up before the flow stood.
    pub(super) fn pass_to_backend(
        &self,
        tuple: ClientTuple,
        mut segment: Segment,
        out: &mut Vec<Action>,
    ) {
        let closes = segment.flags.intersects(CLOSING);
        if segment.has(Flags::SYN) || (segment.payload.is_empty() && !closes) {
            return;
        }
        segment.ack = segment.ack.minus(self.delta());
        segment.timestamps = segment.timestamps.map(|stamps| self.to_backend(stamps));
        segment.window = self.window_to_backend(segment.window);
        self.send_to_backend(tuple, &segment, out);
        if closes {
            out.push(Action::Closing { tuple, sender: Sender::Client, flags: segment.flags });
        }
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
        segment.timestamps = segment.timestamps.map(|stamps| self.to_client(stamps));
        let [from, to] = [self.backend_scale, self.promised_scale].map(|scale| scale.unwrap_or(0));
        segment.window = rescale(segment.window, from, to);
        out.extend(self.cut(&segment).map(|segment| Action::ToClient { tuple, segment }));
        if segment.flags.intersects(CLOSING) {
            out.push(Action::Closing { tuple, sender: Sender::Backend, flags: segment.flags });
        }
    }
}
