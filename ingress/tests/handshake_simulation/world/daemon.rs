//! The daemon around the machine: what it hands up, what it does with actions, and what the next one takes over.

use ingress::handshake::{Action, Event, Handshakes, Limits, ResolveError, Segment};
use ingress_common::tcp::{Flags, Timestamps};

use super::ends::{backend, index, tuple};
use super::{Thing, World};
use crate::scenario::Name;
use crate::tcp::Micros;
use crate::trace::describe_action;

/// From the ring buffer to the machine.
const UPCALL: Micros = 100;

impl World {
    pub(super) fn upcall(&mut self, event: Event) {
        self.schedule(UPCALL, Thing::Upcall(Box::new(event)));
    }

    /// As the engine does: marks are cleared, and what is owed is taken over.
    pub(super) fn restart(&mut self) {
        self.machine = Handshakes::new(Limits::default());
        self.queue.forget_upcalls();
        self.kernel.pending = false;
        self.kernel.expected.clear();
        let Some(owed) = self.kernel.owed.take() else { return };
        let mut actions = Vec::new();
        if let Some(splice) = self.kernel.flow.clone() {
            let end = owed.client_isn.plus(1 + owed.octets.len() as u32);
            if splice.watch == Some(end) && self.kernel.watching {
                self.machine.resume_delivery(self.instant(), tuple(), splice, owed, &mut actions);
                self.apply(actions);
            }
            return;
        }
        let first = Segment {
            seq: owed.client_isn.plus(1),
            ack: owed.cookie.plus(1),
            ..Segment::default()
        };
        let admission = self
            .kernel
            .admission(&Segment { flags: Flags::ACK, ..first }, self.scenario.protocol())
            .expect("a cookie is valid");
        self.machine.resume(self.instant(), tuple(), &admission, &owed, &mut actions);
        self.apply(actions);
    }

    pub(super) fn apply(&mut self, actions: Vec<Action>) {
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
                Action::Closing { .. } => {}
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
