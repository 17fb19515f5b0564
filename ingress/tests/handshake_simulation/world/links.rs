//! The links: a client's to the machine and the tunnel to the servers, which lose, repeat and reorder.

use ingress::handshake::Segment;
use ingress_common::tcp::Flags;
use rand::Rng;

use super::{Thing, World};
use crate::scenario::{Behaviour, Link};

impl World {
    pub(super) fn over(&mut self, link: Link, thing: impl Fn() -> Thing) {
        if self.rng.random_bool(link.loss) {
            return;
        }
        let copies = 1 + u32::from(self.rng.random_bool(link.duplication));
        for _ in 0..copies {
            let delay = link.delay + self.rng.random_range(0..=link.jitter);
            self.schedule(delay, thing());
        }
    }

    pub(super) fn client_sends(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            let link = self.scenario.outer.clone();
            self.over(link, || Thing::KernelFromClient(segment.clone()));
        }
    }

    pub(super) fn server_sends(&mut self, index: usize, segments: Vec<Segment>) {
        for segment in segments {
            let mut link = self.scenario.tunnel.clone();
            if segment.has(Flags::SYN) && self.servers[index].behaviour == Behaviour::Slow {
                let last = index + 1 == self.servers.len();
                link.delay += if last { 2_500_000 } else { 600_000 };
            }
            self.over(link, || Thing::KernelFromBackend(index, segment.clone()));
        }
    }

    pub(super) fn send_to_client(&mut self, segment: Segment) {
        let link = self.scenario.outer.clone();
        self.over(link, || Thing::ToClient(segment.clone()));
    }

    pub(super) fn send_to_server(&mut self, index: usize, segment: Segment) {
        let link = self.scenario.tunnel.clone();
        self.over(link, || Thing::ToServer(index, segment.clone()));
    }
}
