//! What an earlier daemon owed: octets that it had acknowledged to clients and not yet delivered.

use std::time::Instant;

use ingress_common::{
    maps::{Debt, MAX_DEBT},
    tcp::{Seq, Timestamps},
};

use super::{Core, log_send};
use crate::{
    flows::{self, Delivered, keys},
    handshake::{ClientTuple, Owed, Segment, Splice},
    postgres::preamble,
};

impl Core {
    /// Goes on where the earlier daemon stood: with the delivery, or from the client's first octet.
    pub(super) fn inherit(&mut self) {
        for (key, debt) in self.debts.list() {
            let (tuple, owed) = (flows::tuple(&key), owed(&debt));
            self.debts.forget(&key);
            self.marks.unpend(&key);
            match self.flows.delivered(tuple, &owed) {
                Delivered::Wholly => {}
                Delivered::Not(splice) => self.take_up(tuple, splice, owed),
                Delivered::Nowhere => self.resume(tuple, &owed),
            }
        }
    }

    fn take_up(&mut self, tuple: ClientTuple, splice: Box<Splice>, owed: Owed) {
        tracing::info!(client = %tuple.client, octets = owed.octets.len(), "still to be delivered");
        let (_, key) = keys(tuple, splice.backend.address, splice.backend.source);
        self.watched.insert(key, tuple);
        let mut actions = std::mem::take(&mut self.actions);
        self.handshakes.take_up(Instant::now(), tuple, splice, owed, &mut actions);
        self.apply(actions);
    }

    fn resume(&mut self, tuple: ClientTuple, owed: &Owed) {
        let first = owed.client_isn.plus(1);
        let Ok(Some(admission)) = self.admission(tuple, first, owed.cookie) else {
            return self.apologize(tuple, owed);
        };
        tracing::info!(client = %tuple.client, octets = owed.octets.len(), "read once more");
        let mut actions = std::mem::take(&mut self.actions);
        self.handshakes.resume(Instant::now(), tuple, &admission, owed, &mut actions);
        self.apply(actions);
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

/// As the map holds it.
pub(super) fn debt(owed: &Owed) -> Debt {
    let len = owed.octets.len().min(MAX_DEBT);
    let mut octets = [0; MAX_DEBT];
    octets[..len].copy_from_slice(&owed.octets[..len]);
    Debt {
        cookie: owed.cookie.0.to_be_bytes(),
        client_isn: owed.client_isn.0.to_be_bytes(),
        window: owed.window,
        len: len as u16,
        clock: owed.timestamps.map_or(0, |stamps| stamps.value).to_be_bytes(),
        shown: owed.timestamps.map_or(0, |stamps| stamps.echo).to_be_bytes(),
        stamped: u8::from(owed.timestamps.is_some()),
        reserved: [0; 3],
        octets,
    }
}

fn owed(debt: &Debt) -> Owed {
    Owed {
        cookie: Seq(u32::from_be_bytes(debt.cookie)),
        client_isn: Seq(u32::from_be_bytes(debt.client_isn)),
        window: debt.window,
        timestamps: (debt.stamped != 0).then(|| Timestamps {
            value: u32::from_be_bytes(debt.clock),
            echo: u32::from_be_bytes(debt.shown),
        }),
        octets: debt.octets[..usize::from(debt.len).min(MAX_DEBT)].to_vec(),
    }
}
