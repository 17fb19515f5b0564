//! Reading the client: a PostgreSQL preamble perhaps, then the ClientHello.

use std::time::{Duration, Instant};

use ingress_common::tcp::{Flags, Seq};

use super::client::Client;
use super::{Admission, Context, Outcome, Protocol, Segment};
use crate::host_name::HostName;
use crate::postgres::{Opening, REQUEST_LEN, Request};
use crate::sni::{HelloError, HelloReader, ServerName};

/// How long an incomplete hello waits for its rest before it is acknowledged. Long enough that segments sent
/// together arrive together, short enough that a client which waits for the acknowledgment doesn't notice.
const FIRST_ACKNOWLEDGMENT: Duration = Duration::from_millis(20);

/// How long a doubtful beginning waits for a better one: more than segments overtake each other by, and well
/// within the second in which a client has its refusal.
const DOUBT: Duration = Duration::from_millis(250);
/// The first octet of TLS (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;

#[derive(Debug)]
pub(super) struct Reading {
    reader: HelloReader,
    /// Octets of the stream that the reader has had.
    read: usize,
    preamble: bool,
    default_host: Option<HostName>,
    deadline: Instant,
    /// Where the stream begins, if the cookie's word is to be believed, and when it will be.
    doubtful: Option<(Seq, Instant)>,
    acknowledge_at: Option<Instant>,
    /// The client has needed an acknowledgment once, so it gets them at once.
    eager: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Incomplete,
    Name(HostName),
    Refuse(Outcome),
}

impl Reading {
    pub(super) fn new(admission: &Admission, deadline: Instant) -> Self {
        Self {
            reader: HelloReader::default(),
            read: 0,
            preamble: match admission.protocol {
                Protocol::Tls => false,
                Protocol::Postgres => true,
            },
            default_host: admission.default_host.clone(),
            deadline,
            doubtful: None,
            acknowledge_at: None,
            eager: false,
        }
    }

    pub(super) fn timeout(&self) -> Instant {
        let doubt = self.doubtful.map(|(_, until)| until);
        [self.acknowledge_at, doubt].into_iter().flatten().fold(self.deadline, Instant::min)
    }

    pub(super) fn on_timeout(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Read {
        if cx.now >= self.deadline {
            return Read::Refuse(Outcome::HelloTimeout);
        }
        if let Some((base, _)) = self.doubtful.take_if(|(_, until)| cx.now >= *until) {
            client.stream.begin(base);
            return self.advance(client, cx);
        }
        if self.acknowledge_at.is_some_and(|at| cx.now >= at) {
            self.acknowledge_at = None;
            self.eager = true;
            client.acknowledge(cx.out);
        }
        Read::Incomplete
    }

    /// Takes the cookie's word that the client's stream begins at `base`, with these octets. One in 256
    /// segments from the middle of a hello is taken for its beginning, too, so what cannot be one has to wait
    /// for the true one.
    pub(super) fn begin(&mut self, base: Seq, octets: &[u8], client: &mut Client, now: Instant) {
        let opens = match octets.first() {
            Some(&HANDSHAKE_RECORD) => true,
            Some(0) => self.preamble,
            Some(_) | None => false,
        };
        if opens {
            self.doubtful = None;
            client.stream.begin(base);
        } else if !client.stream.begun() {
            self.doubtful.get_or_insert((base, now + DOUBT));
        }
    }

    /// Takes a segment and reads on.
    pub(super) fn on_segment(
        &mut self,
        client: &mut Client,
        segment: Segment,
        cx: &mut Context<'_>,
    ) -> Read {
        if client.stream.begun() && client.repeats(&segment) {
            match client.requests.last() {
                // Our answer was lost, and with it the acknowledgment.
                Some(request) if segment.ack.before(client.next()) => {
                    client.say_again(vec![request.answer()], Flags::PSH, cx.out);
                }
                _ => client.repeat_acknowledgment(cx.out),
            }
        } else if client.stream.begun() && self.is_early(client, &segment) {
            return Read::Refuse(Outcome::EarlyData);
        }
        let fin = segment.has(Flags::FIN);
        client.stream.insert(segment.seq, segment.payload, fin);
        let read = self.advance(client, cx);
        if read == Read::Incomplete {
            if client.stream.finished() {
                return Read::Refuse(Outcome::ClientGone);
            }
            self.plan_acknowledgment(client, cx);
        }
        read
    }

    /// Whether the segment holds octets that the client sent before it had our answer. They would end up
    /// inside TLS though nothing protected them (CVE-2021-23222).
    fn is_early(&self, client: &Client, segment: &Segment) -> bool {
        let begin = client.stream.base().plus(client.preamble() as u32);
        !client.requests.is_empty() && begin.before(segment.end()) && segment.ack != client.next()
    }

    fn plan_acknowledgment(&mut self, client: &mut Client, cx: &mut Context<'_>) {
        if client.stream.covered() == client.acknowledged() {
            return;
        }
        if self.eager {
            client.acknowledge(cx.out);
        } else {
            self.acknowledge_at.get_or_insert(cx.now + FIRST_ACKNOWLEDGMENT);
        }
    }

    fn advance(&mut self, client: &mut Client, cx: &mut Context<'_>) -> Read {
        while self.preamble {
            match Opening::read(&client.stream.octets()[client.preamble()..]) {
                Opening::Incomplete => return Read::Incomplete,
                Opening::DirectTls if client.requests.is_empty() => self.preamble = false,
                Opening::Request(request) if !client.requests.contains(&request) => {
                    let alone = client.stream.octets().len() == client.preamble() + REQUEST_LEN;
                    if !alone || client.stream.gapped() {
                        return Read::Refuse(Outcome::EarlyData);
                    }
                    client.requests.push(request);
                    client.say(vec![request.answer()], Flags::PSH, cx.out);
                    self.acknowledge_at = None;
                    self.preamble = request != Request::Ssl;
                }
                Opening::Startup | Opening::Cancel => {
                    return Read::Refuse(Outcome::PlaintextPostgres);
                }
                Opening::DirectTls | Opening::Request(_) | Opening::Unknown => {
                    return Read::Refuse(Outcome::NotTls);
                }
            }
        }
        self.read = self.read.max(client.preamble());
        let fresh = &client.stream.octets()[self.read..];
        self.read += fresh.len();
        match self.reader.feed(fresh) {
            Ok(None) => Read::Incomplete,
            Ok(Some(hello)) => self.choose(hello.server_name),
            Err(HelloError::NotTls) => Read::Refuse(Outcome::NotTls),
            Err(HelloError::Malformed) => Read::Refuse(Outcome::BadHello),
            Err(HelloError::TooLong) => Read::Refuse(Outcome::HelloTooLong),
        }
    }

    fn choose(&mut self, name: ServerName) -> Read {
        match (name, self.default_host.take()) {
            (ServerName::Host(host), _) | (ServerName::Absent, Some(host)) => Read::Name(host),
            (ServerName::Absent, None) => Read::Refuse(Outcome::NoName),
            (ServerName::Invalid(_), _) => Read::Refuse(Outcome::InvalidName),
        }
    }
}
