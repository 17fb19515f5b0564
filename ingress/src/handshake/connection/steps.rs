//! From one phase to the next, and to the end.

use ingress_common::tcp::Seq;

use super::{Connection, End, Phase};
use crate::handshake::backend::Reached;
use crate::handshake::client::Reset;
use crate::handshake::delivery::{Delivered, Delivery, Installed, install};
use crate::handshake::reading::Read;
use crate::handshake::recent::Epitaph;
use crate::handshake::refusal::Lingering;
use crate::handshake::{Action, Outcome, Turn};

impl Connection {
    pub(super) fn on_reset(&mut self, seq: Seq, turn: &mut Turn<'_>) -> Option<End> {
        match self.client.judge_reset(seq) {
            Reset::Genuine => {
                self.abandon_backend(turn);
                Some(self.end(Outcome::ClientGone, Epitaph::Closed, turn))
            }
            Reset::Doubtful => {
                self.client.repeat_acknowledgment(turn.out);
                None
            }
            Reset::Foreign => None,
        }
    }

    pub(super) fn on_read(&mut self, read: Read, turn: &mut Turn<'_>) -> Option<End> {
        match read {
            Read::Incomplete => None,
            Read::Name(host) => {
                self.phase = Phase::Resolving(turn.now + turn.limits.resolve_deadline);
                self.host = Some(host.clone());
                turn.out.push(Action::Resolve { tuple: self.client.tuple, host });
                None
            }
            Read::Refuse(outcome) => self.refuse(outcome, turn),
        }
    }

    pub(super) fn on_reached(&mut self, reached: Reached, turn: &mut Turn<'_>) -> Option<End> {
        let peer = match reached {
            Reached::Waiting => return None,
            Reached::Nobody(outcome) => return self.refuse(outcome, turn),
            Reached::Peer(peer) => peer,
        };
        // `Resolve` was the only way here.
        let host = self.host.clone()?;
        let elapsed = turn.now - self.started;
        match install(&self.client, &peer, host, elapsed, turn) {
            Installed::Owing(delivery) => {
                self.phase = Phase::Delivering(delivery);
                None
            }
            Installed::Settled(splice) => {
                Some(self.end(Outcome::Spliced, Epitaph::Spliced(splice), turn))
            }
        }
    }

    pub(super) fn on_delivered(&mut self, delivered: Delivered) -> Option<End> {
        match delivered {
            Delivered::Waiting => None,
            Delivered::Done => self.close(),
            Delivered::Failed(outcome) => {
                let end = self.close()?;
                Some(End { outcome, epitaph: Epitaph::Reset, ..end })
            }
        }
    }

    pub(super) fn refuse(&mut self, outcome: Outcome, turn: &mut Turn<'_>) -> Option<End> {
        let elapsed = turn.now - self.started;
        match Lingering::start(outcome, elapsed, &mut self.client, turn) {
            Some(lingering) => {
                self.phase = Phase::Refusing(lingering);
                None
            }
            None => Some(self.end(outcome, Epitaph::Reset, turn)),
        }
    }

    pub(super) fn abandon_backend(&mut self, turn: &mut Turn<'_>) {
        if let Phase::Connecting(attempt) = &self.phase {
            attempt.reset(&self.client, turn);
        }
    }

    /// Its flow is no more.
    pub(in crate::handshake) fn end_delivery(&self) -> Option<End> {
        match &self.phase {
            Phase::Delivering(_) => self.close().map(|end| End { epitaph: Epitaph::Closed, ..end }),
            Phase::Reading(_) | Phase::Resolving(_) | Phase::Connecting(_) | Phase::Refusing(_) => {
                None
            }
        }
    }

    /// The end of a connection that was decided earlier.
    pub(super) fn close(&self) -> Option<End> {
        match &self.phase {
            Phase::Delivering(Delivery { splice, elapsed, .. }) => Some(End {
                outcome: Outcome::Spliced,
                elapsed: *elapsed,
                epitaph: Epitaph::Spliced(splice.clone()),
            }),
            Phase::Refusing(Lingering { outcome, elapsed, .. }) => {
                Some(End { outcome: *outcome, elapsed: Some(*elapsed), epitaph: Epitaph::Closed })
            }
            Phase::Reading(_) | Phase::Resolving(_) | Phase::Connecting(_) => None,
        }
    }

    pub(super) fn end(&self, outcome: Outcome, epitaph: Epitaph, turn: &Turn<'_>) -> End {
        End { outcome, elapsed: Some(turn.now - self.started), epitaph }
    }
}
