//! What an earlier daemon owed: octets that it had acknowledged to clients and not yet delivered.

use ingress_common::tcp::Timestamps;

use super::{Core, log_send};
use crate::{
    flows::{Delivered, keys},
    handshake::{ClientTuple, Owed, Segment, Splice},
    postgres::preamble,
};

impl Core {
    /// Goes on where the earlier daemon stood: with the delivery, or from the client's first octet.
    pub(super) fn inherit(&mut self) {
        for (tuple, owed) in self.debts.inherited() {
            self.debts.take_over(tuple);
            self.awaited.unpend(tuple);
            match self.flows.delivered(tuple, &owed) {
                Delivered::Wholly => {}
                Delivered::Not(splice) => self.resume_delivery(tuple, splice, owed),
                Delivered::Nowhere => self.resume(tuple, &owed),
            }
        }
    }

    fn resume_delivery(&mut self, tuple: ClientTuple, splice: Box<Splice>, owed: Owed) {
        tracing::info!(client = %tuple.client, octets = owed.octets.len(), "still to be delivered");
        let (_, key) = keys(tuple, splice.backend.address, splice.backend.source);
        self.awaited.watch(tuple, key);
        self.drive(|handshakes, now, actions| {
            handshakes.resume_delivery(now, tuple, splice, owed, actions);
        });
    }

    fn resume(&mut self, tuple: ClientTuple, owed: &Owed) {
        let first = owed.client_isn.plus(1);
        let Ok(Some(admission)) = self.admission(tuple, first, owed.cookie) else {
            return self.apologize(tuple, owed);
        };
        tracing::info!(client = %tuple.client, octets = owed.octets.len(), "read once more");
        self.drive(|handshakes, now, actions| {
            handshakes.resume(now, tuple, &admission, owed, actions);
        });
    }

    /// Resets a client that has nothing to repeat, and would wait for its own patience to end.
    fn apologize(&self, tuple: ClientTuple, owed: &Owed) {
        let answered = preamble(&owed.octets) as u32;
        let end = owed.client_isn.plus(1 + owed.octets.len() as u32);
        let reset = Segment::reset(owed.cookie.plus(1 + answered), Some(end))
            .stamped(owed.timestamps.map(Timestamps::mirrored));
        log_send(self.transmit.v4(tuple.listen, tuple.client, &reset));
    }
}
