//! The world around the machine, and its time: whatever is due next happens, until all of it has come to rest.

mod daemon;
mod ends;
mod kernel;
mod links;
mod queue;
mod round;

use std::time::{Duration, Instant};

use ingress::handshake::{Handshakes, Limits, Outcome};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::End;
use crate::peers::{Client, Server};
use crate::scenario::{Behaviour, Scenario};
use crate::tcp::{Micros, State};
use crate::trace::describe;
pub use ends::index;
use kernel::Kernel;
use queue::Queue;
pub use queue::Thing;

pub struct World {
    pub scenario: Scenario,
    rng: StdRng,
    trace: bool,
    zero: Instant,
    now: Micros,
    queue: Queue,
    machine: Handshakes,
    kernel: Kernel,
    client: Option<Client>,
    servers: Vec<Server>,
    finished: Vec<Outcome>,
    clock_offset: u32,
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
            queue: Queue::default(),
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

    /// Goes on to the next thing that happens; `false` where nothing does before `until`.
    fn step(&mut self, until: Micros) -> bool {
        let next = self.queue.next_at();
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
        if let Some(thing) = self.queue.take_due(now) {
            self.happen(thing);
        }
        true
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

    fn instant(&self) -> Instant {
        self.zero + Duration::from_micros(self.now)
    }

    fn schedule(&mut self, delay: Micros, thing: Thing) {
        self.queue.put(self.now + delay, thing);
    }

    fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("a round runs")
    }
}
