//! The programs at the two ends: a client that speaks TLS or PostgreSQL, and a server for it.

use ingress::handshake::{Outcome, Segment};
use ingress::postgres;
use ingress_common::tcp::{Flags, Seq};

use crate::scenario::{Behaviour, Scenario, Speech, Writes, hello};
use crate::tcp::{Micros, State, Tcp};

const BYTEWISE: usize = 60;

/// What the client saw in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Served,
    Alert(u8),
    PostgresError,
    Reset,
    Aborted,
}

pub struct Client {
    pub tcp: Tcp,
    pub seen: Option<Seen>,
    /// When the server's first octet of TLS came.
    pub answered_at: Option<Micros>,
    /// The whole stream that a server has to receive.
    pub stream: Vec<u8>,
    speech: Speech,
    writes: Writes,
    requests: Vec<postgres::Request>,
    /// Requests written.
    asked: usize,
    hello: Vec<u8>,
    said: usize,
    up: Vec<u8>,
    down: Vec<u8>,
    answered: bool,
}

pub fn requests(speech: Speech) -> Vec<postgres::Request> {
    match speech {
        Speech::Postgres { gss: true } => vec![postgres::Request::GssEnc, postgres::Request::Ssl],
        Speech::Postgres { gss: false } => vec![postgres::Request::Ssl],
        Speech::Tls
        | Speech::PostgresDirect
        | Speech::PostgresPlain
        | Speech::PostgresEager
        | Speech::Http => vec![],
    }
}

pub fn response(scenario: &Scenario) -> Vec<u8> {
    (0..scenario.down).map(|at| if at == 0 { 22 } else { (at * 13 + at / 256) as u8 }).collect()
}

impl Client {
    pub fn new(tcp: Tcp, scenario: &Scenario) -> Self {
        let hello = match scenario.speech {
            Speech::Http => b"GET / HTTP/1.1\r\nhost: www.example.org\r\n\r\n".to_vec(),
            Speech::PostgresPlain => b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0".to_vec(),
            Speech::PostgresEager => {
                [&postgres::Request::Ssl.octets()[..], &hello(scenario)].concat()
            }
            Speech::Tls | Speech::Postgres { .. } | Speech::PostgresDirect => hello(scenario),
        };
        let up: Vec<u8> = (0..scenario.up).map(|at| (at * 17 + at / 255) as u8).collect();
        let requests = requests(scenario.speech);
        let mut stream: Vec<u8> = requests.iter().flat_map(|request| *request.octets()).collect();
        stream.extend(&hello);
        stream.extend(&up);
        Self {
            tcp,
            seen: None,
            answered_at: None,
            stream,
            speech: scenario.speech,
            writes: scenario.writes,
            requests,
            asked: 0,
            hello,
            said: 0,
            up,
            down: response(scenario),
            answered: false,
        }
    }

    /// Lets the program do what it can.
    pub fn step(&mut self, now: Micros, out: &mut Vec<Segment>) {
        if self.seen.is_some() {
            self.tcp.send(now, out);
            return;
        }
        if self.tcp.state == State::Reset {
            self.seen = Some(Seen::Reset);
            return;
        }
        let got = self.tcp.received.len();
        if self.asked < self.requests.len() && got == self.asked {
            self.tcp.write(self.requests[self.asked].octets());
            self.asked += 1;
        }
        for (at, request) in self.requests.iter().enumerate().take(got) {
            assert_eq!(self.tcp.received[at], request.answer(), "answer to {request:?}");
        }
        if got >= self.requests.len() && self.asked == self.requests.len() {
            if got > self.requests.len() {
                self.answered_at.get_or_insert(now);
            }
            self.greet(now, out);
            self.listen();
        }
        self.tcp.send(now, out);
    }

    fn greet(&mut self, now: Micros, out: &mut Vec<Segment>) {
        let left = self.hello.len() - self.said;
        if left == 0 {
            return;
        }
        let now_said = match self.writes {
            Writes::Whole => left,
            Writes::WaitsForAck if self.said == 0 => self.hello.len() / 2,
            Writes::WaitsForAck if self.tcp.all_acked() => left,
            Writes::WaitsForAck => 0,
            Writes::Bytewise | Writes::BytewiseNagle => {
                self.tcp.nagle = self.writes == Writes::BytewiseNagle;
                for _ in 0..BYTEWISE.min(left - 1) {
                    self.tcp.write(&self.hello[self.said..=self.said]);
                    self.said += 1;
                    self.tcp.send(now, out);
                }
                self.hello.len() - self.said
            }
        };
        self.tcp.write(&self.hello[self.said..self.said + now_said]);
        self.said += now_said;
    }

    fn listen(&mut self) {
        let got = &self.tcp.received[self.requests.len()..];
        match got.first() {
            None if self.tcp.peer_closed() => panic!("closed without a word"),
            None => {}
            // Its reset is on the way.
            Some(b'S') if self.speech == Speech::PostgresEager => {}
            Some(21 | b'E') if !self.tcp.peer_closed() => {}
            Some(21) => {
                let &[21, 3, 3, 0, 2, 2, alert] = got else { panic!("strange alert {got:?}") };
                self.seen = Some(Seen::Alert(alert));
                self.tcp.close();
            }
            Some(b'E') => {
                assert_eq!(got, postgres::tls_required());
                self.seen = Some(Seen::PostgresError);
                self.tcp.close();
            }
            Some(_) => {
                assert!(self.down.starts_with(got), "the server's octets arrived wrong");
                if got.len() == self.down.len() && !self.answered {
                    self.answered = true;
                    self.tcp.write(&self.up.clone());
                    self.tcp.close();
                }
                if self.tcp.peer_closed() && self.answered && self.tcp.all_acked() {
                    self.seen = Some(Seen::Served);
                }
            }
        }
    }

    /// Whether what it saw is what the outcome looks like.
    pub fn saw(&self, outcome: Outcome) -> bool {
        let seen = match outcome {
            Outcome::Spliced => Seen::Served,
            Outcome::NoName
            | Outcome::InvalidName
            | Outcome::UnknownName
            | Outcome::OutsidePrefixes
            | Outcome::DeniedName => Seen::Alert(112),
            Outcome::DnsFailed | Outcome::BackendWithoutTls => Seen::Alert(80),
            Outcome::BadHello | Outcome::HelloTooLong => Seen::Alert(50),
            Outcome::PlaintextPostgres => Seen::PostgresError,
            Outcome::BackendRefused
            | Outcome::BackendUnreachable
            | Outcome::BackendSilent
            | Outcome::BackendWithoutTimestamps
            | Outcome::NotTls
            | Outcome::HelloTimeout
            | Outcome::ClientGone
            | Outcome::Overloaded
            | Outcome::Crowded
            | Outcome::EarlyData
            | Outcome::Replaced
            | Outcome::PortTaken
            | Outcome::TableFull
            | Outcome::NotInstalled => Seen::Reset,
        };
        self.seen == Some(seen)
    }
}

pub struct Server {
    pub tcp: Tcp,
    pub behaviour: Behaviour,
    speech: Speech,
    consumed: usize,
    answered: usize,
    hello_len: usize,
    response: Vec<u8>,
    responded: bool,
    closed: bool,
}

impl Server {
    pub fn new(tcp: Tcp, behaviour: Behaviour, scenario: &Scenario) -> Self {
        Self {
            tcp,
            behaviour,
            speech: scenario.speech,
            consumed: 0,
            answered: 0,
            hello_len: hello(scenario).len(),
            response: response(scenario),
            responded: false,
            closed: false,
        }
    }

    pub fn step(&mut self, now: Micros, out: &mut Vec<Segment>) {
        if self.tcp.state != State::Established {
            return;
        }
        let requests = requests(self.speech);
        while let Some(request) = requests.get(self.answered)
            && self.tcp.received.len() >= self.consumed + postgres::REQUEST_LEN
        {
            assert_eq!(self.tcp.received[self.consumed..], request.octets()[..], "preamble");
            self.consumed += postgres::REQUEST_LEN;
            self.answered += 1;
            let refuses = self.behaviour == Behaviour::WithoutTls;
            self.tcp.write(&[if refuses { b'N' } else { request.answer() }]);
        }
        if self.tcp.received.len() >= self.consumed + self.hello_len
            && self.answered == requests.len()
            && !self.responded
        {
            self.responded = true;
            self.tcp.write(&self.response);
        }
        if self.tcp.peer_closed() && !self.closed {
            self.closed = true;
            self.tcp.close();
        }
        self.tcp.send(now, out);
    }

    /// What a host that doesn't serve answers to a segment.
    pub fn turn_away(segment: &Segment) -> Option<Segment> {
        (!segment.has(Flags::RST)).then(|| Segment::reset(Seq(0), Some(segment.end().plus(1))))
    }
}
