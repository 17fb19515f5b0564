//! The world around the machine: links, a model of the kernel's part, and the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::{Duration, Instant};

use ingress::handshake::{
    Action, Admission, Backend, ClientTuple, Event, Handshakes, Limits, Outcome, Owed, Promise,
    Protocol, ResolveError, Segment, Splice,
};
use ingress_common::tcp::{Flags, Seq, SynOptions, Timestamps};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::End;
use crate::peers::{Client, Seen, Server};
use crate::scenario::{Behaviour, Link, Name, Scenario, Writes};
use crate::splice;
use crate::tcp::{Micros, State, Tcp};
use crate::trace::{describe, describe_action};

/// From the ring buffer to the machine.
const UPCALL: Micros = 100;
const SYN_ACK_WINDOW: u32 = 16_640;
const ROUND_LIMIT: Micros = 150_000_000;

#[derive(Debug)]
pub enum Thing {
    KernelFromClient(Segment),
    KernelFromBackend(usize, Segment),
    ToClient(Segment),
    ToServer(usize, Segment),
    Upcall(Box<Event>),
}

struct Cookie {
    cookie: Seq,
    isn: Seq,
    options: SynOptions,
    promised_scale: Option<u8>,
}

#[derive(Default)]
struct Kernel {
    cookies: Vec<Cookie>,
    pending: bool,
    expected: BTreeSet<usize>,
    flow: Option<Box<Splice>>,
    watching: bool,
    /// What backends were seen to lack, and the port promises no more.
    withdrawn: Vec<Promise>,
    owed: Option<Owed>,
}

pub struct World {
    pub scenario: Scenario,
    rng: StdRng,
    trace: bool,
    zero: Instant,
    now: Micros,
    things: BTreeMap<(Micros, u64), Thing>,
    counter: u64,
    machine: Handshakes,
    kernel: Kernel,
    client: Option<Client>,
    servers: Vec<Server>,
    finished: Vec<Outcome>,
    clock_offset: u32,
}

fn tuple() -> ClientTuple {
    ClientTuple {
        client: "198.51.100.7:40000".parse().unwrap(),
        listen: "203.0.113.1:443".parse().unwrap(),
    }
}

fn backend(index: usize) -> Backend {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, index as u16 + 1);
    Backend {
        address: SocketAddrV6::new(address, 443, 0, 0),
        source: "64:ff9b:1::c633:6407".parse().unwrap(),
        site: 0,
        mss_limit: 1360,
    }
}

pub fn index(address: SocketAddrV6) -> usize {
    usize::from(address.ip().segments()[7]) - 1
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let scenario = Scenario::new(&mut rng);
        if trace {
            println!("{scenario:#?}");
        }
        let mut world = Self {
            scenario,
            rng,
            trace,
            zero: Instant::now(),
            now: 0,
            things: BTreeMap::new(),
            counter: 0,
            machine: Handshakes::new(Limits::default()),
            kernel: Kernel::default(),
            client: None,
            servers: Vec::new(),
            finished: Vec::new(),
            clock_offset: 0,
        };
        world.clock_offset = world.number(true).0;
        for (nth, behaviour) in world.scenario.backends.clone().into_iter().enumerate() {
            let mut tcp = world.listening(nth, behaviour != Behaviour::Occupied);
            if behaviour == Behaviour::Occupied {
                tcp.state = State::Established;
                tcp.irs = world.number(false);
                tcp.write(b"old");
                tcp.edge = 1000;
                tcp.timer = Some(100_000);
            }
            world.servers.push(Server::new(tcp, behaviour, &world.scenario));
        }
        world
    }

    /// Sequence numbers are random. The first connection's are often near the wrap, but those of others never: two
    /// connections whose numbers lie close together can't be told apart, and are not what is tried here.
    fn number(&mut self, first: bool) -> Seq {
        if first && self.rng.random_bool(0.5) {
            Seq(0).minus(self.rng.random_range(0..20_000))
        } else {
            Seq(self.rng.random())
        }
    }

    fn options(&mut self) -> SynOptions {
        SynOptions {
            mss: Some(*[536, 1220, 1360, 1440, 1460].choose(&mut self.rng).unwrap()),
            window_scale: *[None, Some(0), Some(2), Some(7), Some(8)]
                .choose(&mut self.rng)
                .unwrap(),
            sack_permitted: self.rng.random(),
        }
    }

    fn listening(&mut self, nth: usize, first: bool) -> Tcp {
        let (iss, options) = (self.number(first), self.options());
        let window = *[20_000, 65_535, 300_000].choose(&mut self.rng).unwrap();
        let mut tcp = Tcp::new(State::Listen, iss, Seq(0), options, window);
        tcp.clock.wanted = self.scenario.stamping[nth];
        tcp.clock.offset = self.number(true).0;
        tcp
    }

    pub fn run(&mut self) -> Vec<End> {
        let mut outcomes = Vec::new();
        for _ in 0..self.scenario.rounds {
            outcomes.push(self.round());
        }
        // Everything must come to rest, and nothing may be left behind.
        let until = self.now + 60_000_000;
        while self.now < until && self.step(until) {}
        assert!(self.machine.is_empty(), "left in the table");
        assert!(!self.kernel.pending && self.kernel.expected.is_empty(), "marks left behind");
        assert_eq!(self.machine.next_timeout(), None);
        outcomes
    }

    /// One connection, and what became of it by the client's own account.
    fn round(&mut self) -> End {
        self.connect();
        let stamped = self.client().tcp.clock.agreed;
        let started = self.now;
        let finished = self.finished.len();
        let abort_at = self.scenario.aborts.map(|at| started + at);
        let mut restart_at = self.scenario.restarts.map(|at| started + at);
        while self.client().seen.is_none() {
            assert!(self.now < started + ROUND_LIMIT, "the client hangs");
            if abort_at.is_some_and(|at| self.now >= at) {
                let mut out = Vec::new();
                self.client().tcp.abort(&mut out);
                self.client().seen = Some(Seen::Aborted);
                self.client_sends(out);
                break;
            }
            if restart_at.is_some_and(|at| self.now >= at) {
                restart_at = None;
                self.restart();
            }
            let until = abort_at.into_iter().chain(restart_at).min().unwrap_or(Micros::MAX);
            assert!(self.step(until), "nothing will ever happen again");
        }
        let expected = self.scenario.expected(stamped);
        let pause = *[0, 1000, 400_000, 6_000_000].choose(&mut self.rng).unwrap();
        if self.client().seen == Some(Seen::Served) {
            self.check_server();
            self.check_promptness(started);
        }
        let until = self.now + pause;
        while self.now < until && self.step(until) {}
        let seen = self.client().seen;
        if seen == Some(Seen::Aborted) {
            return (expected, None);
        }
        let lossless = self.scenario.lossless();
        if self.client().saw(expected) {
            // The outcome of a refusal is told at its end.
            let told = &self.finished[finished..];
            assert!(
                !lossless || pause < 6_000_000 || told.last() == Some(&expected),
                "{told:?} instead of {expected:?}"
            );
            return (expected, Some(expected));
        }
        assert!(!lossless, "client saw {seen:?}, expected {expected:?}");
        assert_ne!(seen, Some(Seen::Served), "served in spite of {expected:?}");
        if matches!(seen, Some(Seen::Alert(_) | Seen::PostgresError)) {
            // Losses can make a backend look silent, not a name look wrong.
            assert!(self.scenario.backends.contains(&Behaviour::WithoutTls), "{seen:?}");
        }
        (expected, Some(Outcome::BackendSilent))
    }

    /// As the engine does: marks are cleared, and what is owed is taken over.
    fn restart(&mut self) {
        self.machine = Handshakes::new(Limits::default());
        self.things.retain(|_, thing| !matches!(thing, Thing::Upcall(_)));
        self.kernel.pending = false;
        self.kernel.expected.clear();
        let Some(owed) = self.kernel.owed.take() else { return };
        let mut actions = Vec::new();
        if let Some(splice) = self.kernel.flow.clone() {
            let end = owed.client_isn.plus(1 + owed.octets.len() as u32);
            if splice.watch == Some(end) && self.kernel.watching {
                self.machine.take_up(self.instant(), tuple(), splice, owed, &mut actions);
                self.apply(actions);
            }
            return;
        }
        let first = Segment {
            seq: owed.client_isn.plus(1),
            ack: owed.cookie.plus(1),
            ..Segment::default()
        };
        let admission =
            self.admission(&Segment { flags: Flags::ACK, ..first }).expect("a cookie is valid");
        self.machine.resume(self.instant(), tuple(), &admission, &owed, &mut actions);
        self.apply(actions);
    }

    fn check_server(&mut self) {
        let (stream, isn) = (self.client().stream.clone(), self.client().tcp.iss);
        let server = self
            .servers
            .iter()
            .find(|server| server.tcp.irs == isn && server.tcp.received == stream)
            .unwrap_or_else(|| panic!("no server has what the client sent"));
        assert!(server.tcp.peer_closed());
        let ours = &self.client.as_ref().expect("a round runs").tcp.clock;
        assert_eq!(server.tcp.clock.agreed, ours.agreed, "timestamps at both ends or at none");
    }

    /// Where nothing is lost, the answer takes the round trips that it takes, and nothing waits for a timer.
    fn check_promptness(&mut self, started: Micros) {
        let Scenario { outer, tunnel, dns_delay, .. } = &self.scenario;
        let bound = dns_delay
            + 14 * (outer.delay + outer.jitter)
            + 10 * (tunnel.delay + tunnel.jitter)
            + 80_000;
        let stamped = self.client.as_ref().is_some_and(|client| client.tcp.clock.agreed);
        // Of a hello in single octets no more than some are kept that came too early.
        let kept = self.scenario.writes != Writes::Bytewise || outer.jitter == 0;
        let quick = self.scenario.lossless()
            && kept
            && self.scenario.backends[0] == Behaviour::Good
            && (self.scenario.stamping[0] || !stamped);
        let took = self.client().answered_at.map_or(0, |at| at - started);
        assert!(!quick || took < bound, "answered after {took} µs, not {bound}");
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("a round runs")
    }

    /// The SYN and its cookie, which the kernel does alone.
    fn connect(&mut self) {
        let first = self.kernel.cookies.is_empty();
        let (isn, cookie, mut options) = (self.number(first), self.number(first), self.options());
        options.sack_permitted &= !self.kernel.withdrawn.contains(&Promise::Sack);
        let promised_scale = options
            .window_scale
            .and_then(|_| *[None, Some(7), Some(7), Some(2)].choose(&mut self.rng).unwrap());
        let window = *[20_000, 65_535, 300_000].choose(&mut self.rng).unwrap();
        let mut tcp = Tcp::new(State::Established, isn, cookie, options, window);
        tcp.scales = promised_scale.and(options.window_scale).zip(promised_scale);
        tcp.mss = options.mss.unwrap_or(536).min(1360).into();
        tcp.cwnd = 10 * tcp.mss;
        tcp.edge = SYN_ACK_WINDOW;
        tcp.clock.wanted = self.rng.random_bool(0.8);
        // One clock in a client, whatever the connection.
        tcp.clock.offset = self.clock_offset;
        tcp.clock.now = self.now;
        tcp.clock.say();
        let shown = self.number(true).0;
        tcp.agree((!self.kernel.withdrawn.contains(&Promise::Timestamps)).then_some(shown));
        self.kernel.cookies.push(Cookie { cookie, isn, options, promised_scale });
        self.client = Some(Client::new(tcp, &self.scenario));
        for server in &mut self.servers {
            // Half of the time the old connection lingers at the server, as in TIME_WAIT.
            let over = server.tcp.peer_closed() && server.tcp.all_acked();
            if server.tcp.state == State::Reset || (over && self.rng.random()) {
                *server = Server::new(server.tcp.clone(), server.behaviour, &self.scenario);
                server.tcp.state = State::Reset;
            }
        }
        let mut out = Vec::new();
        let now = self.now;
        self.client().step(now, &mut out);
        self.client_sends(out);
    }

    /// Goes on to the next thing that happens; `false` where nothing does before `until`.
    fn step(&mut self, until: Micros) -> bool {
        let next = self.things.first_key_value().map(|(&(at, _), _)| at);
        let machine = self.machine.next_timeout().map(|at| (at - self.zero).as_micros() as Micros);
        let client = self.client.as_ref().and_then(|client| client.tcp.timer);
        let servers = self.servers.iter().filter_map(|server| server.tcp.timer).min();
        let Some(at) = [next, machine, client, servers].into_iter().flatten().min() else {
            self.now = if until == Micros::MAX { self.now } else { until };
            return false;
        };
        if at > until {
            self.now = until;
            return true;
        }
        self.now = self.now.max(at);
        let now = self.now;
        if machine.is_some_and(|at| at <= now) {
            let mut actions = Vec::new();
            self.machine.handle_timeout(self.instant(), &mut actions);
            self.apply(actions);
        }
        let mut out = Vec::new();
        if let Some(client) = &mut self.client {
            client.tcp.on_timer(now, &mut out);
        }
        self.client_sends(out);
        for index in 0..self.servers.len() {
            let mut out = Vec::new();
            self.servers[index].tcp.on_timer(now, &mut out);
            self.server_sends(index, out);
        }
        if let Some(entry) = self.things.first_entry()
            && entry.key().0 <= now
        {
            let thing = entry.remove();
            self.happen(thing);
        }
        true
    }

    fn instant(&self) -> Instant {
        self.zero + Duration::from_micros(self.now)
    }

    fn schedule(&mut self, delay: Micros, thing: Thing) {
        self.counter += 1;
        self.things.insert((self.now + delay, self.counter), thing);
    }

    fn over(&mut self, link: Link, thing: impl Fn() -> Thing) {
        if self.rng.random_bool(link.loss) {
            return;
        }
        let copies = 1 + u32::from(self.rng.random_bool(link.duplication));
        for _ in 0..copies {
            let delay = link.delay + self.rng.random_range(0..=link.jitter);
            self.schedule(delay, thing());
        }
    }

    fn client_sends(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            let link = self.scenario.outer.clone();
            self.over(link, || Thing::KernelFromClient(segment.clone()));
        }
    }

    fn server_sends(&mut self, index: usize, segments: Vec<Segment>) {
        for segment in segments {
            let mut link = self.scenario.tunnel.clone();
            if segment.has(Flags::SYN) && self.servers[index].behaviour == Behaviour::Slow {
                let last = index + 1 == self.servers.len();
                link.delay += if last { 2_500_000 } else { 600_000 };
            }
            self.over(link, || Thing::KernelFromBackend(index, segment.clone()));
        }
    }

    fn send_to_client(&mut self, segment: Segment) {
        let link = self.scenario.outer.clone();
        self.over(link, || Thing::ToClient(segment.clone()));
    }

    fn send_to_server(&mut self, index: usize, segment: Segment) {
        let link = self.scenario.tunnel.clone();
        self.over(link, || Thing::ToServer(index, segment.clone()));
    }

    fn upcall(&mut self, event: Event) {
        self.schedule(UPCALL, Thing::Upcall(Box::new(event)));
    }

    fn happen(&mut self, thing: Thing) {
        if self.trace {
            println!("{:>9.3} ms {}", self.now as f64 / 1000.0, describe(&thing));
        }
        let now = self.now;
        match thing {
            Thing::KernelFromClient(segment) => self.kernel_from_client(segment),
            Thing::KernelFromBackend(index, segment) => self.kernel_from_backend(index, segment),
            Thing::ToClient(segment) => {
                let mut out = Vec::new();
                self.client().tcp.on_segment(segment, now, &mut out);
                self.client().step(now, &mut out);
                self.client_sends(out);
            }
            Thing::ToServer(index, segment) => self.serve(index, segment),
            Thing::Upcall(event) => {
                let mut actions = Vec::new();
                self.machine.handle(self.instant(), *event, &mut actions);
                self.apply(actions);
            }
        }
    }

    fn serve(&mut self, index: usize, segment: Segment) {
        let now = self.now;
        match self.servers[index].behaviour {
            Behaviour::Good | Behaviour::Occupied | Behaviour::Slow | Behaviour::WithoutTls => {
                if self.servers[index].tcp.state == State::Reset && segment.has(Flags::SYN) {
                    let tcp = self.listening(index, false);
                    let behaviour = self.servers[index].behaviour;
                    self.servers[index] = Server::new(tcp, behaviour, &self.scenario);
                }
                let mut out = Vec::new();
                self.servers[index].tcp.on_segment(segment, now, &mut out);
                self.servers[index].step(now, &mut out);
                self.server_sends(index, out);
            }
            Behaviour::Refuses => {
                let out = Server::turn_away(&segment).into_iter().collect();
                self.server_sends(index, out);
            }
            Behaviour::Unreachable => {
                let backend = backend(index).address;
                let link = self.scenario.tunnel.clone();
                self.over(link, || {
                    Thing::Upcall(Box::new(Event::Unreachable { tuple: tuple(), backend }))
                });
            }
            Behaviour::Silent => {}
        }
    }

    fn admission(&self, segment: &Segment) -> Option<Admission> {
        let cookie = self
            .kernel
            .cookies
            .iter()
            .find(|known| segment.has(Flags::ACK) && segment.ack == known.cookie.plus(1))?;
        let offset = segment.seq.since(cookie.isn.plus(1));
        (0..=20_000).contains(&offset).then(|| Admission {
            cookie: cookie.cookie,
            client_isn: (offset == 0).then_some(cookie.isn),
            options: cookie.options,
            promised_scale: cookie.promised_scale,
            protocol: if self.scenario.speech.on_postgres_port() {
                Protocol::Postgres
            } else {
                Protocol::Tls
            },
            default_host: None,
        })
    }

    fn kernel_from_client(&mut self, segment: Segment) {
        let admission = self.admission(&segment);
        let tuple = tuple();
        if let Some(splice) = self.kernel.flow.clone() {
            let other =
                admission.as_ref().is_some_and(|admission| admission.cookie != splice.cookie);
            if !other || segment.payload.is_empty() {
                self.send_to_server(
                    index(splice.backend.address),
                    splice::to_backend(&splice, segment),
                );
                return;
            }
        }
        if self.kernel.pending || (admission.is_some() && !segment.payload.is_empty()) {
            self.upcall(Event::Client { tuple, segment, admission });
        } else if admission.is_none() && !segment.has(Flags::RST) {
            self.send_to_client(Segment::reset(segment.ack, None));
        }
    }

    fn kernel_from_backend(&mut self, from: usize, segment: Segment) {
        if let Some(splice) = self.kernel.flow.clone()
            && index(splice.backend.address) == from
        {
            if let Some(watch) = splice.watch
                && self.kernel.watching
                && segment.has(Flags::ACK)
                && (0..Splice::WATCH_RANGE as i32).contains(&segment.ack.since(watch))
            {
                self.kernel.watching = false;
                self.upcall(Event::BackendAcked { tuple: tuple(), ack: segment.ack });
            }
            self.send_to_client(splice::to_client(&splice, segment));
        } else if self.kernel.expected.contains(&from) {
            let from = backend(from).address;
            self.upcall(Event::Backend { tuple: tuple(), from, segment });
        } else if !segment.has(Flags::RST) && self.rng.random() {
            self.send_to_server(from, Segment::reset(segment.ack, None));
        }
    }

    fn apply(&mut self, actions: Vec<Action>) {
        for action in actions {
            if self.trace {
                println!("{:>9.3} ms     {}", self.now as f64 / 1000.0, describe_action(&action));
            }
            match action {
                Action::Pend { .. } => {
                    self.kernel.pending = true;
                    self.kernel.flow = None;
                }
                Action::Resolve { tuple, host } => {
                    let result = match self.scenario.name {
                        Name::Good => Ok((0..self.servers.len()).map(backend).collect()),
                        Name::Unknown => Err(ResolveError::NotFound),
                        Name::Outside => Err(ResolveError::OutsidePrefixes),
                        Name::DnsFails => Err(ResolveError::Failed),
                        Name::Absent | Name::Invalid => panic!("resolved {host}"),
                    };
                    let event = Event::Resolved { tuple, host, result };
                    self.schedule(self.scenario.dns_delay, Thing::Upcall(Box::new(event)));
                }
                Action::Expect { backend, .. } => {
                    self.kernel.expected.insert(index(backend.address));
                }
                Action::Unexpect { backend, .. } => {
                    self.kernel.expected.remove(&index(backend.address));
                }
                Action::Withdraw { promise, .. } => self.kernel.withdrawn.push(promise),
                Action::ToClient { segment, .. } => self.send_to_client(segment),
                Action::ToBackend { backend, segment, .. } => {
                    let options = segment.timestamps.map_or(0, |_| Timestamps::LEN);
                    assert!(segment.payload.len() + options <= usize::from(backend.mss_limit));
                    self.send_to_server(index(backend.address), segment);
                }
                Action::Install { splice, .. } => {
                    self.kernel.watching = splice.watch.is_some();
                    self.kernel.flow = Some(splice);
                    self.kernel.pending = false;
                    self.kernel.expected.clear();
                }
                Action::Owe { owed, .. } => self.kernel.owed = Some(owed),
                Action::Uninstall { .. } => self.kernel.flow = None,
                Action::Finish { outcome, .. } => {
                    self.kernel.owed = None;
                    self.kernel.pending = false;
                    self.kernel.expected.clear();
                    self.finished.push(outcome);
                }
            }
        }
    }
}
