//! What a seed stands for: a client, backends, links, and what must come of them.

use ingress::handshake::{Outcome, Protocol};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    Tls,
    /// SSLRequest, after a GSSENCRequest perhaps.
    Postgres {
        gss: bool,
    },
    /// PostgreSQL's port, but TLS at once.
    PostgresDirect,
    /// A startup message without TLS.
    PostgresPlain,
    /// Sends the hello with the SSLRequest.
    PostgresEager,
    Http,
}

impl Speech {
    pub fn on_postgres_port(self) -> bool {
        match self {
            Self::Postgres { .. }
            | Self::PostgresDirect
            | Self::PostgresPlain
            | Self::PostgresEager => true,
            Self::Tls | Self::Http => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    Whole,
    /// Two writes; the second once the first is acknowledged.
    WaitsForAck,
    Bytewise,
    BytewiseNagle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Good,
    Absent,
    Invalid,
    Unknown,
    Outside,
    DnsFails,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    /// An old connection of the same tuple is still there.
    Occupied,
    Slow,
    Refuses,
    Unreachable,
    Silent,
    /// PostgreSQL that answers `N`.
    WithoutTls,
}

impl Behaviour {
    /// Whether a SYN-ACK comes of it.
    pub fn answers(self) -> bool {
        match self {
            Self::Good | Self::Occupied | Self::Slow | Self::WithoutTls => true,
            Self::Refuses | Self::Unreachable | Self::Silent => false,
        }
    }

    pub fn serves(self, speech: Speech) -> bool {
        match self {
            Self::Good | Self::Occupied | Self::Slow => true,
            Self::WithoutTls => !matches!(speech, Speech::Postgres { .. }),
            Self::Refuses | Self::Unreachable | Self::Silent => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Link {
    pub loss: f64,
    pub duplication: f64,
    pub delay: u64,
    pub jitter: u64,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub speech: Speech,
    pub writes: Writes,
    pub name: Name,
    pub hello_len: usize,
    pub record_len: usize,
    pub backends: Vec<Behaviour>,
    /// Whether each of them has timestamps.
    pub stamping: Vec<bool>,
    pub outer: Link,
    pub tunnel: Link,
    pub dns_delay: u64,
    /// The client resets at this time.
    pub aborts: Option<u64>,
    /// The daemon is another from this time on.
    pub restarts: Option<u64>,
    pub up: usize,
    pub down: usize,
    /// How many connections follow each other on the tuple.
    pub rounds: usize,
}

impl Scenario {
    pub fn new(rng: &mut StdRng) -> Self {
        let speech = *[
            Speech::Tls,
            Speech::Tls,
            Speech::Tls,
            Speech::Tls,
            Speech::Postgres { gss: false },
            Speech::Postgres { gss: false },
            Speech::Postgres { gss: true },
            Speech::PostgresDirect,
            Speech::PostgresPlain,
            Speech::PostgresEager,
            Speech::Http,
        ]
        .choose(rng)
        .unwrap();
        let writes = [
            Writes::Whole,
            Writes::Whole,
            Writes::WaitsForAck,
            Writes::Bytewise,
            Writes::BytewiseNagle,
        ];
        let names = [Name::Absent, Name::Invalid, Name::Unknown, Name::Outside, Name::DnsFails];
        let name = if rng.random_bool(0.8) { Name::Good } else { *names.choose(rng).unwrap() };
        let behaviours = [
            Behaviour::Occupied,
            Behaviour::Occupied,
            Behaviour::Slow,
            Behaviour::Refuses,
            Behaviour::Unreachable,
            Behaviour::Silent,
            Behaviour::WithoutTls,
        ];
        let backends: Vec<Behaviour> = (0..*[1, 1, 1, 2, 3].choose(rng).unwrap())
            .map(|_| {
                if rng.random_bool(0.6) {
                    Behaviour::Good
                } else {
                    *behaviours.choose(rng).unwrap()
                }
            })
            .collect();
        let hello_len = match rng.random_range(0..4) {
            0 => rng.random_range(0..400),
            1 => rng.random_range(1500..2500),
            2 => rng.random_range(0..8000),
            _ => rng.random_range(12_000..15_800),
        };
        let record_len = *[300, 1000, 5000, 16_384, 16_384, 16_384].choose(rng).unwrap();
        Self {
            speech,
            writes: *writes.choose(rng).unwrap(),
            name,
            hello_len,
            record_len,
            stamping: backends.iter().map(|_| rng.random_bool(0.8)).collect(),
            backends,
            outer: Link::new(rng),
            tunnel: Link::new(rng),
            dns_delay: *[100, 5_000, 300_000, 1_500_000].choose(rng).unwrap(),
            aborts: rng.random_bool(0.06).then(|| rng.random_range(0..3_000_000)),
            restarts: rng.random_bool(0.1).then(|| rng.random_range(0..2_000_000)),
            up: rng.random_range(0..30_000),
            down: rng.random_range(1..30_000),
            rounds: rng.random_range(1..=3),
        }
    }

    /// What the port that the client calls is for.
    pub fn protocol(&self) -> Protocol {
        if self.speech.on_postgres_port() { Protocol::Postgres } else { Protocol::Tls }
    }

    /// Whether nothing is forgotten on the way.
    pub fn lossless(&self) -> bool {
        self.outer.loss == 0.0 && self.tunnel.loss == 0.0 && self.restarts.is_none()
    }

    /// What the end must be where nothing is lost; losses may turn a success into a refusal. `stamped`: the
    /// client was promised timestamps.
    pub fn expected(&self, stamped: bool) -> Outcome {
        match self.speech {
            Speech::Http => return Outcome::NotTls,
            Speech::PostgresPlain => return Outcome::PlaintextPostgres,
            Speech::PostgresEager => return Outcome::EarlyData,
            Speech::Tls | Speech::Postgres { .. } | Speech::PostgresDirect => {}
        }
        match self.name {
            Name::Good => {}
            Name::Absent => return Outcome::NoName,
            Name::Invalid => return Outcome::InvalidName,
            Name::Unknown => return Outcome::UnknownName,
            Name::Outside => return Outcome::OutsidePrefixes,
            Name::DnsFails => return Outcome::DnsFailed,
        }
        let lacking = |nth: usize| stamped && !self.stamping[nth] && self.backends[nth].answers();
        let serves = |nth: usize| self.backends[nth].serves(self.speech) && !lacking(nth);
        if (0..self.backends.len()).any(serves) {
            return Outcome::Spliced;
        }
        if lacking(self.backends.len() - 1) {
            return Outcome::BackendWithoutTimestamps;
        }
        match self.backends.last().unwrap() {
            Behaviour::Refuses => Outcome::BackendRefused,
            Behaviour::Unreachable => Outcome::BackendUnreachable,
            Behaviour::Silent => Outcome::BackendSilent,
            Behaviour::WithoutTls => Outcome::BackendWithoutTls,
            Behaviour::Good | Behaviour::Occupied | Behaviour::Slow => unreachable!(),
        }
    }
}

impl Link {
    fn new(rng: &mut StdRng) -> Self {
        let rough = rng.random_bool(0.6);
        Self {
            loss: if rough { rng.random_range(0.0..0.12) } else { 0.0 },
            duplication: if rough { rng.random_range(0.0..0.08) } else { 0.0 },
            delay: rng.random_range(200..60_000),
            jitter: *[0, 0, 500, 20_000].choose(rng).unwrap(),
        }
    }
}

/// A ClientHello of about the given size.
pub fn hello(scenario: &Scenario) -> Vec<u8> {
    let name: &[u8] = match scenario.name {
        Name::Absent => b"192.0.2.7",
        Name::Invalid => b"no spaces.example",
        Name::Good | Name::Unknown | Name::Outside | Name::DnsFails => b"www.example.org",
    };
    let mut extensions = Vec::new();
    extensions.extend([0x00, 0x33]);
    extensions.extend((scenario.hello_len as u16).to_be_bytes());
    extensions.extend((0..scenario.hello_len).map(|at| (at * 31 + at / 251) as u8));
    extensions.extend([0, 0]);
    extensions.extend((name.len() as u16 + 5).to_be_bytes());
    extensions.extend((name.len() as u16 + 3).to_be_bytes());
    extensions.push(0);
    extensions.extend((name.len() as u16).to_be_bytes());
    extensions.extend(name);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]], &body[..]].concat();
    let mut stream = Vec::new();
    for content in message.chunks(scenario.record_len) {
        stream.extend([22, 3, 1]);
        stream.extend((content.len() as u16).to_be_bytes());
        stream.extend(content);
    }
    stream
}
