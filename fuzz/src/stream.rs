//! A handshake: segments of one stream in any order, overlapping, with gaps and pauses, lead to what the stream
//! says, and every handshake ends.

use std::time::{Duration, Instant};

use ingress::handshake::{
    Action, Admission, ClientTuple, Event, Handshakes, Limits, Outcome, Protocol, Segment,
};
use ingress::host_name::HostName;
use ingress::postgres::{REQUEST_LEN, preamble};
use ingress::sni::{HelloError, MAX_STREAM, ServerName};
use ingress_common::tcp::{Flags, Seq, SynOptions};

use crate::cursor::Cursor;
use crate::hello;

const COOKIE: Seq = Seq(0xffff_ff00);
/// Longer than a beginning that cannot be one waits for a better one.
const DOUBT: Duration = Duration::from_millis(300);
/// What a client's last words are cut into.
const MSS: usize = 1200;

struct Client<'a> {
    machine: Handshakes,
    now: Instant,
    protocol: Protocol,
    isn: Seq,
    stream: &'a [u8],
    /// Octets that the client was sent.
    heard: u32,
    asked: Option<HostName>,
    outcome: Option<Outcome>,
}

/// A protocol, an ISN, up to 31 segments with what goes before each, then the stream.
pub fn run(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let postgres = cursor.bool();
    let isn = Seq(cursor.u32());
    let script: Vec<_> = (0..cursor.u8() % 32)
        .map(|_| (cursor.u8(), usize::from(cursor.u16()), usize::from(cursor.u16())))
        .collect();
    let stream = cursor.rest();
    let stream = &stream[..stream.len().min(MAX_STREAM)];
    let mut client = Client {
        machine: Handshakes::new(Limits::default()),
        now: Instant::now(),
        protocol: if postgres { Protocol::Postgres } else { Protocol::Tls },
        isn,
        stream,
        heard: 0,
        asked: None,
        outcome: None,
    };
    for (pause, from, len) in script {
        // 31 times 51 ms are no hello's deadline.
        client.wait(Duration::from_millis(u64::from(pause) / 5));
        let from = from % (stream.len() + 1);
        client.send(from, len % 4096);
    }
    // Whatever was lost: a client sends everything again, and once more where there was no room for it as long as
    // the beginning was in doubt. In PostgreSQL it would wait for an answer in between.
    for _ in 0..2 {
        for from in (0..stream.len()).step_by(MSS) {
            client.send(from, MSS);
        }
        client.wait(DOUBT);
    }
    client.judge();
    client.wait(Duration::from_secs(60));
    assert!(client.machine.is_empty(), "a handshake without end");
    assert_eq!(client.machine.next_timeout(), None);
}

impl Client<'_> {
    fn send(&mut self, from: usize, len: usize) {
        let payload = self.stream[from..].iter().copied().take(len).collect::<Vec<u8>>();
        let admission = (self.heard == 0).then(|| Admission {
            cookie: COOKIE,
            client_isn: (from == 0).then_some(self.isn),
            options: SynOptions { mss: Some(1460), window_scale: Some(7), sack_permitted: true },
            promised_scale: Some(7),
            protocol: self.protocol,
            default_host: None,
        });
        let segment = Segment {
            seq: self.isn.plus(1 + from as u32),
            ack: COOKIE.plus(1 + self.heard),
            flags: Flags::ACK,
            window: 500,
            payload,
            ..Segment::default()
        };
        let mut out = Vec::new();
        self.machine.handle(
            self.now,
            Event::Client { tuple: tuple(), segment, admission },
            &mut out,
        );
        self.take(out);
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.machine.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.machine.handle_timeout(self.now, &mut out);
            self.take(out);
        }
        self.now = end;
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToClient { segment, .. } => {
                    let heard = segment.end().since(COOKIE.plus(1));
                    if self.asked.is_none() && !segment.has(Flags::RST) && heard > 0 {
                        self.heard = self.heard.max(heard as u32);
                    }
                }
                Action::Resolve { host, .. } => {
                    assert!(self.asked.replace(host).is_none(), "asked twice");
                }
                Action::Finish { outcome, .. } => {
                    self.outcome.get_or_insert(outcome);
                }
                Action::Owe { owed, .. } => {
                    assert_eq!((owed.cookie, owed.client_isn), (COOKIE, self.isn));
                    assert!(self.stream.starts_with(&owed.octets), "owed is not what was sent");
                }
                Action::Pend { .. } => {}
                Action::Expect { .. }
                | Action::Unexpect { .. }
                | Action::ToBackend { .. }
                | Action::Withdraw { .. }
                | Action::Install { .. }
                | Action::Closing { .. }
                | Action::Uninstall { .. } => panic!("no backend is known: {action:?}"),
            }
        }
    }

    /// Compares with what a reader says who has the stream in one piece.
    fn judge(&mut self) {
        let begin = match self.protocol {
            Protocol::Tls => 0,
            Protocol::Postgres => preamble(self.stream) * REQUEST_LEN,
        };
        let read = hello::read([&self.stream[begin.min(self.stream.len())..]]);
        let name = match &read {
            Ok(Some(hello)) => match &hello.server_name {
                ServerName::Host(name) => Some(name),
                ServerName::Absent | ServerName::Invalid(_) => None,
            },
            Ok(None) | Err(_) => None,
        };
        if self.asked.is_some() {
            assert_eq!(self.asked.as_ref(), name, "another name than the stream's");
        }
        // A PostgreSQL client that does not wait for its answer is refused, whatever comes behind.
        if self.protocol == Protocol::Postgres || self.stream.is_empty() {
            return;
        }
        assert_eq!(self.asked.as_ref(), name, "{:?}", self.outcome);
        self.wait(Duration::from_secs(60));
        let expected = match read {
            Ok(Some(hello)) => match hello.server_name {
                ServerName::Host(_) => Outcome::DnsFailed,
                ServerName::Absent => Outcome::NoName,
                ServerName::Invalid(_) => Outcome::InvalidName,
            },
            Ok(None) => Outcome::HelloTimeout,
            Err(HelloError::NotTls) => Outcome::NotTls,
            Err(HelloError::Malformed) => Outcome::BadHello,
            Err(HelloError::TooLong) => Outcome::HelloTooLong,
        };
        assert_eq!(self.outcome, Some(expected));
    }
}

fn tuple() -> ClientTuple {
    ClientTuple {
        client: std::net::SocketAddrV4::new([198, 51, 100, 7].into(), 40_000),
        listen: std::net::SocketAddrV4::new([203, 0, 113, 1].into(), 443),
    }
}
