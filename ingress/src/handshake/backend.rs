//! The backend's half: a SYN in the client's name, to one candidate after another.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ingress_common::tcp::{DEFAULT_MSS_V6, Flags, Seq, SynOptions, Timestamps};

use super::client::Client;
use super::{Action, Backend, Context, Limits, Outcome, Promise, Segment};
use crate::postgres::REQUEST_LEN;

/// A SYN is repeated after these waits, then after the last one again and again.
const SYN_WAITS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(700), Duration::from_millis(1000)];
/// Nobody means less, and timestamps have to fit.
const SMALLEST_MSS: u16 = 64;
/// How many resets a backend is sent for old connections on the tuple; after that, only the SYN is repeated.
const MOST_OLD_RESETS: u8 = 8;

/// The way through the candidates.
#[derive(Debug)]
pub(super) struct Attempt {
    backend: Backend,
    others: VecDeque<Backend>,
    state: State,
    tries: usize,
    next: Instant,
    give_up: Instant,
    old_resets: u8,
}

#[derive(Debug)]
enum State {
    SynSent,
    /// Connected, and repeating the client's PostgreSQL requests.
    Preamble {
        peer: Peer,
        answered: usize,
    },
}

/// What a SYN-ACK told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) backend: Backend,
    pub(super) isn: Seq,
    pub(super) window_scale: Option<u8>,
    /// Its clock in the SYN-ACK and the latest since, where both ends have timestamps.
    pub(super) clock: Option<Clock>,
    /// The MSS that it announced.
    pub(super) announced: u16,
    /// The largest segment that both ends and the tunnel take.
    pub(super) mss: u16,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) first: u32,
    latest: u32,
}

#[derive(Debug)]
pub(super) enum Reached {
    Waiting,
    Peer(Peer),
    Nobody(Outcome),
}

impl Attempt {
    /// Begins with the first candidate; `None` where there is none.
    pub(super) fn start(
        backends: Vec<Backend>,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let mut others = VecDeque::from(backends);
        let backend = others.pop_front()?;
        let state = State::SynSent;
        let mut attempt =
            Self { backend, others, state, tries: 0, next: cx.now, give_up: cx.now, old_resets: 0 };
        attempt.open(client, cx);
        Some(attempt)
    }

    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(super) fn timeout(&self) -> Instant {
        self.next.min(self.give_up)
    }

    pub(super) fn on_timeout(&mut self, client: &Client, cx: &mut Context<'_>) -> Reached {
        if cx.now >= self.give_up {
            self.reset(client, cx);
            return self.fail(Outcome::BackendSilent, client, cx);
        }
        if cx.now >= self.next {
            self.send(client, cx);
        }
        Reached::Waiting
    }

    /// An ICMPv6 error counts only for a SYN: later it may be an accident of the route (RFC 5927 §5.2).
    pub(super) fn on_unreachable(&mut self, client: &Client, cx: &mut Context<'_>) -> Reached {
        match self.state {
            State::SynSent => self.fail(Outcome::BackendUnreachable, client, cx),
            State::Preamble { .. } => Reached::Waiting,
        }
    }

    pub(super) fn on_segment(
        &mut self,
        segment: &Segment,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Reached {
        match self.state {
            State::SynSent => self.on_syn_sent(segment, client, cx),
            State::Preamble { peer, answered } => {
                self.on_preamble(segment, peer, answered, client, cx)
            }
        }
    }

    /// Tells the current candidate that nothing comes any more.
    pub(super) fn reset(&self, client: &Client, cx: &mut Context<'_>) {
        let sent = match self.state {
            State::SynSent => 0,
            State::Preamble { answered, .. } => (answered + 1) * REQUEST_LEN,
        };
        self.push(client, Segment::reset(client.stream.base().plus(sent as u32), None), cx);
    }

    /// RFC 9293 §3.10.7.3, except that a SYN alone means nothing here.
    fn on_syn_sent(&mut self, segment: &Segment, client: &Client, cx: &mut Context<'_>) -> Reached {
        if !segment.has(Flags::ACK) {
            return Reached::Waiting;
        }
        let expected = segment.ack == client.stream.base();
        if segment.has(Flags::RST) {
            return if expected {
                self.fail(Outcome::BackendRefused, client, cx)
            } else {
                Reached::Waiting
            };
        }
        if !(segment.has(Flags::SYN) && expected) {
            self.reset_old(segment.ack, client, cx);
            return Reached::Waiting;
        }
        let offered = client.options(self.backend.mss_limit);
        let mut withdraw = |promise| {
            cx.out.push(Action::Withdraw { tuple: client.tuple, promise });
        };
        if offered.sack_permitted && !segment.options.sack_permitted {
            withdraw(Promise::Sack);
        }
        let clock = match (client.timestamps, segment.timestamps) {
            (None, _) => None,
            (Some(_), Some(Timestamps { value, .. })) => {
                Some(Clock { first: value, latest: value })
            }
            (Some(_), None) => {
                withdraw(Promise::Timestamps);
                self.reset(client, cx);
                return self.fail(Outcome::BackendWithoutTimestamps, client, cx);
            }
        };
        let own = segment.options.mss.unwrap_or(DEFAULT_MSS_V6).max(SMALLEST_MSS);
        let peer = Peer {
            backend: self.backend,
            isn: segment.seq,
            window_scale: offered.window_scale.and(segment.options.window_scale),
            clock,
            announced: own,
            mss: own.min(offered.mss.unwrap_or(own)).max(SMALLEST_MSS),
        };
        if client.requests.is_empty() {
            return Reached::Peer(peer);
        }
        self.ask(peer, 0, client, cx);
        Reached::Waiting
    }

    /// The tuple still belongs to an older connection (RFC 9293 §3.5.1): its end answers with its own numbers, takes
    /// a reset with exactly these, and then the SYN gets through.
    fn reset_old(&mut self, ack: Seq, client: &Client, cx: &mut Context<'_>) {
        if self.old_resets < MOST_OLD_RESETS {
            self.old_resets += 1;
            self.push(client, Segment::reset(ack, None), cx);
            self.push(client, self.syn(client), cx);
        }
    }

    fn on_preamble(
        &mut self,
        segment: &Segment,
        peer: Peer,
        answered: usize,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Reached {
        if segment.has(Flags::SYN) {
            // It has not heard from us yet.
            self.push(client, peer.request(client, answered), cx);
            return Reached::Waiting;
        }
        if segment.seq != peer.isn.plus(1 + answered as u32) {
            return Reached::Waiting;
        }
        let peer = peer.having_heard(segment);
        self.state = State::Preamble { peer, answered };
        if segment.has(Flags::RST) {
            return self.fail(Outcome::BackendRefused, client, cx);
        }
        if segment.payload == [client.requests[answered].answer()] {
            let answered = answered + 1;
            if answered == client.requests.len() {
                return Reached::Peer(peer);
            }
            self.ask(peer, answered, client, cx);
            return Reached::Waiting;
        }
        if segment.payload.is_empty() && !segment.has(Flags::FIN) {
            return Reached::Waiting;
        }
        // Another answer, or more than the answer, which nothing would have protected (CVE-2021-23222).
        self.reset(client, cx);
        self.fail(Outcome::BackendWithoutTls, client, cx)
    }

    fn fail(&mut self, outcome: Outcome, client: &Client, cx: &mut Context<'_>) -> Reached {
        let Some(next) = self.others.pop_front() else { return Reached::Nobody(outcome) };
        cx.out.push(Action::Unexpect { tuple: client.tuple, backend: self.backend });
        self.backend = next;
        self.open(client, cx);
        Reached::Waiting
    }

    fn open(&mut self, client: &Client, cx: &mut Context<'_>) {
        self.state = State::SynSent;
        self.tries = 0;
        self.old_resets = 0;
        self.give_up = cx.now + self.patience(cx.limits);
        cx.out.push(Action::Expect { tuple: client.tuple, backend: self.backend });
        self.send(client, cx);
    }

    fn ask(&mut self, peer: Peer, answered: usize, client: &Client, cx: &mut Context<'_>) {
        self.state = State::Preamble { peer, answered };
        self.tries = 0;
        self.give_up = cx.now + self.patience(cx.limits);
        self.send(client, cx);
    }

    fn patience(&self, limits: &Limits) -> Duration {
        if self.others.is_empty() { limits.last_backend_patience } else { limits.backend_patience }
    }

    /// Sends what the state is waiting for an answer to.
    fn send(&mut self, client: &Client, cx: &mut Context<'_>) {
        let segment = match &self.state {
            State::SynSent => self.syn(client),
            State::Preamble { peer, answered } => peer.request(client, *answered),
        };
        self.next = cx.now + SYN_WAITS[self.tries.min(SYN_WAITS.len() - 1)];
        self.tries += 1;
        self.push(client, segment, cx);
    }

    fn push(&self, client: &Client, segment: Segment, cx: &mut Context<'_>) {
        cx.out.push(Action::ToBackend { tuple: client.tuple, backend: self.backend, segment });
    }

    fn syn(&self, client: &Client) -> Segment {
        Segment {
            seq: client.isn(),
            flags: Flags::SYN,
            window: client.unscaled_window(),
            options: client.options(self.backend.mss_limit),
            timestamps: client.timestamps.map(|ours| Timestamps { value: ours.echo, echo: 0 }),
            ..Segment::default()
        }
    }
}

impl Peer {
    /// The client's window as this backend reads it.
    fn window(&self, client: &Client) -> u16 {
        if self.window_scale.is_some() { client.window } else { client.unscaled_window() }
    }

    /// A segment in the client's name, after so many answered requests.
    pub(super) fn segment(&self, client: &Client, answered: usize, payload: Vec<u8>) -> Segment {
        Segment {
            seq: client.stream.base().plus((answered * REQUEST_LEN) as u32),
            ack: self.isn.plus(1 + answered as u32),
            flags: Flags::ACK.with(Flags::PSH),
            window: self.window(client),
            options: SynOptions::default(),
            timestamps: self.timestamps(client),
            payload,
        }
    }

    fn request(&self, client: &Client, answered: usize) -> Segment {
        self.segment(client, answered, client.requests[answered].octets().to_vec())
    }

    /// What segments in the client's name carry.
    fn timestamps(&self, client: &Client) -> Option<Timestamps> {
        let (ours, theirs) = client.timestamps.zip(self.clock)?;
        Some(Timestamps { value: ours.echo, echo: theirs.latest })
    }

    fn having_heard(mut self, segment: &Segment) -> Self {
        if let (Some(clock), Some(heard)) = (&mut self.clock, segment.timestamps)
            && Timestamps::is_later(heard.value, clock.latest)
        {
            clock.latest = heard.value;
        }
        self
    }
}
