//! Who stands at the two ends: their addresses, connections drawn at random, and what a server makes of a segment.

use std::net::{Ipv6Addr, SocketAddrV6};

use ingress::handshake::{Backend, ClientTuple, Event, Promise, Segment};
use ingress_common::tcp::{Flags, Seq, SynOptions};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::kernel::Cookie;
use super::{Thing, World};
use crate::peers::{Client, Server};
use crate::scenario::Behaviour;
use crate::tcp::{State, Tcp};

const SYN_ACK_WINDOW: u32 = 16_640;

pub fn tuple() -> ClientTuple {
    ClientTuple {
        client: "198.51.100.7:40000".parse().unwrap(),
        listen: "203.0.113.1:443".parse().unwrap(),
    }
}

pub fn backend(index: usize) -> Backend {
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
    /// Sequence numbers are random. The first connection's are often near the wrap, but those of others never: two
    /// connections whose numbers lie close together can't be told apart, and are not what is tried here.
    pub(super) fn number(&mut self, first: bool) -> Seq {
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

    pub(super) fn listening(&mut self, nth: usize, first: bool) -> Tcp {
        let (iss, options) = (self.number(first), self.options());
        let window = *[20_000, 65_535, 300_000].choose(&mut self.rng).unwrap();
        let mut tcp = Tcp::new(State::Listen, iss, Seq(0), options, window);
        tcp.clock.wanted = self.scenario.stamping[nth];
        tcp.clock.offset = self.number(true).0;
        tcp
    }

    /// The SYN and its cookie, which the kernel does alone.
    pub(super) fn connect(&mut self) {
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

    pub(super) fn serve(&mut self, index: usize, segment: Segment) {
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
}
