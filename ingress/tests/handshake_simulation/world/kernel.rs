//! A model of the kernel's part: the cookies it gave, the marks and the flow it knows, and where it sends a segment.

use std::collections::BTreeSet;

use ingress::handshake::{Admission, Event, Owed, Promise, Protocol, Segment, Splice};
use ingress_common::tcp::{Flags, Seq, SynOptions};
use rand::Rng;

use super::World;
use super::ends::{backend, index, tuple};
use crate::splice;

pub struct Cookie {
    pub cookie: Seq,
    pub isn: Seq,
    pub options: SynOptions,
    pub promised_scale: Option<u8>,
}

#[derive(Default)]
pub struct Kernel {
    pub cookies: Vec<Cookie>,
    pub pending: bool,
    pub expected: BTreeSet<usize>,
    pub flow: Option<Box<Splice>>,
    pub watching: bool,
    /// What backends were seen to lack, and the port promises no more.
    pub withdrawn: Vec<Promise>,
    pub owed: Option<Owed>,
}

impl Kernel {
    /// What a segment proves, where it acknowledges a cookie of ours.
    pub fn admission(&self, segment: &Segment, protocol: Protocol) -> Option<Admission> {
        let cookie = self
            .cookies
            .iter()
            .find(|known| segment.has(Flags::ACK) && segment.ack == known.cookie.plus(1))?;
        let offset = segment.seq.since(cookie.isn.plus(1));
        (0..=20_000).contains(&offset).then(|| Admission {
            cookie: cookie.cookie,
            client_isn: (offset == 0).then_some(cookie.isn),
            options: cookie.options,
            promised_scale: cookie.promised_scale,
            protocol,
            default_host: None,
        })
    }
}

impl World {
    pub(super) fn kernel_from_client(&mut self, segment: Segment) {
        let admission = self.kernel.admission(&segment, self.scenario.protocol());
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

    pub(super) fn kernel_from_backend(&mut self, from: usize, segment: Segment) {
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
}
