//! From one phase to the next, and to the end.

use ingress_common::tcp::Seq;

use super::{Connection, End, Phase};
use crate::handshake::backend::Reached;
use crate::handshake::client::Reset;
use crate::handshake::delivery::{Delivered, Delivery, Installed, install};
use crate::handshake::reading::Read;
use crate::handshake::recent::AfterEnd;
use crate::handshake::refusal::Refusing;
use crate::handshake::{Action, Context, Outcome};

impl Connection {
    pub(super) fn on_reset(&mut self, seq: Seq, cx: &mut Context<'_>) -> Option<End> {
        match self.client.judge_reset(seq) {
            Reset::Exact => {
                self.abandon_backend(cx);
                Some(self.end(Outcome::ClientGone, AfterEnd::Closed, cx))
            }
            Reset::InWindow => {
                self.client.repeat_acknowledgment(cx.out);
                None
            }
            Reset::Outside => None,
        }
    }

    pub(super) fn on_read(&mut self, read: Read, cx: &mut Context<'_>) -> Option<End> {
        match read {
            Read::Incomplete => None,
            Read::Name(host) => {
                self.phase = Phase::Resolving(cx.now + cx.limits.resolve_deadline);
                self.host = Some(host.clone());
                cx.out.push(Action::Resolve { tuple: self.client.tuple, host });
                None
            }
            Read::Refuse(outcome) => self.refuse(outcome, cx),
        }
    }

    pub(super) fn on_reached(&mut self, reached: Reached, cx: &mut Context<'_>) -> Option<End> {
        let peer = match reached {
            Reached::Waiting => return None,
            Reached::Nobody(outcome) => return self.refuse(outcome, cx),
            Reached::Peer(peer) => peer,
        };
        // `Resolve` was the only way here.
        let host = self.host.clone()?;
        let elapsed = cx.now - self.started;
        match install(&self.client, &peer, host, elapsed, cx) {
            Installed::Owing(delivery) => {
                self.phase = Phase::Delivering(delivery);
                None
            }
            Installed::Settled(splice) => {
                Some(self.end(Outcome::Spliced, AfterEnd::Spliced(splice), cx))
            }
        }
    }

    pub(super) fn on_delivered(&mut self, delivered: Delivered) -> Option<End> {
        match delivered {
            Delivered::Waiting => None,
            Delivered::Done => self.close(),
            Delivered::Failed(outcome) => {
                let end = self.close()?;
                Some(End { outcome, after: AfterEnd::Reset, ..end })
            }
        }
    }

    pub(super) fn refuse(&mut self, outcome: Outcome, cx: &mut Context<'_>) -> Option<End> {
        let elapsed = cx.now - self.started;
        match Refusing::start(outcome, elapsed, &mut self.client, cx) {
            Some(refusing) => {
                self.phase = Phase::Refusing(refusing);
                None
            }
            None => Some(self.end(outcome, AfterEnd::Reset, cx)),
        }
    }

    pub(super) fn abandon_backend(&mut self, cx: &mut Context<'_>) {
        if let Phase::Connecting(attempt) = &self.phase {
            attempt.reset(&self.client, cx);
        }
    }

    /// Its flow is no more.
    pub(in crate::handshake) fn end_delivery(&self) -> Option<End> {
        match &self.phase {
            Phase::Delivering(_) => self.close().map(|end| End { after: AfterEnd::Closed, ..end }),
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
                after: AfterEnd::Spliced(splice.clone()),
            }),
            Phase::Refusing(Refusing { outcome, elapsed, .. }) => {
                Some(End { outcome: *outcome, elapsed: Some(*elapsed), after: AfterEnd::Closed })
            }
            Phase::Reading(_) | Phase::Resolving(_) | Phase::Connecting(_) => None,
        }
    }

    pub(super) fn end(&self, outcome: Outcome, after: AfterEnd, cx: &Context<'_>) -> End {
        End { outcome, elapsed: Some(cx.now - self.started), after }
    }
}
