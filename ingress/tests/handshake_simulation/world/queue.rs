//! What is under way, in the order in which it arrives.

use std::collections::BTreeMap;

use ingress::handshake::{Event, Segment};

use crate::tcp::Micros;

#[derive(Debug)]
pub enum Thing {
    KernelFromClient(Segment),
    KernelFromBackend(usize, Segment),
    ToClient(Segment),
    ToServer(usize, Segment),
    Upcall(Box<Event>),
}

/// Of two things of the same moment, the one that was put in first comes first.
#[derive(Default)]
pub struct Queue {
    things: BTreeMap<(Micros, u64), Thing>,
    counter: u64,
}

impl Queue {
    pub fn put(&mut self, at: Micros, thing: Thing) {
        self.counter += 1;
        self.things.insert((at, self.counter), thing);
    }

    pub fn next_at(&self) -> Option<Micros> {
        self.things.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Takes out the next thing, if it has arrived by now.
    pub fn take_due(&mut self, now: Micros) -> Option<Thing> {
        let entry = self.things.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// What was on its way to a daemon that is no more.
    pub fn forget_upcalls(&mut self) {
        self.things.retain(|_, thing| !matches!(thing, Thing::Upcall(_)));
    }
}
