//! The sans-IO heart: from a client's first bytes to a spliced connection.
//!
//! Events and the time go in, actions come out. There is no socket, clock, map or task in this room.

use std::time::{Duration, Instant};

mod event;
mod outcome;
mod segment;

pub use event::{Action, Admission, Backend, ClientTuple, Event, Protocol, ResolveError, Splice};
pub use outcome::Outcome;
pub use segment::Segment;

/// How much one machine may hold, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Handshakes at the same time; a new one above it is refused.
    pub connections: usize,
    /// From the first octets to a complete ClientHello.
    pub hello_deadline: Duration,
    /// How long a name may take to resolve.
    pub resolve_deadline: Duration,
    /// How long a backend may be silent while there is another one to try.
    pub backend_patience: Duration,
    /// How long the last backend may be silent.
    pub last_backend_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            hello_deadline: Duration::from_secs(10),
            resolve_deadline: Duration::from_secs(10),
            backend_patience: Duration::from_millis(1500),
            last_backend_patience: Duration::from_secs(5),
        }
    }
}

/// Every handshake in progress.
#[derive(Debug)]
pub struct Handshakes {
    limits: Limits,
}

impl Handshakes {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Takes an event in and appends what is to be done.
    pub fn handle(&mut self, _now: Instant, _event: Event, _out: &mut Vec<Action>) {
        todo!()
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, _now: Instant, _out: &mut Vec<Action>) {}

    /// Handshakes in progress.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }

    /// Whether none is in progress.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
