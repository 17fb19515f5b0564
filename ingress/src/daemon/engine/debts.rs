//! What the daemon owes backends, put down for the next one should this one go.

use std::{collections::HashSet, time::Instant};

use ingress_common::{
    maps::{ClientKey, Debt, MAX_DEBT},
    tcp::{Seq, Timestamps},
};

use crate::{
    daemon::ration::Ration,
    dataplane::Debts,
    flows::{self, client_key},
    handshake::{ClientTuple, Owed},
};

pub(super) struct DebtBook {
    map: Debts,
    /// Whose debts this daemon has put down.
    owing: HashSet<ClientTuple>,
    /// Of log lines: clients can fill the map.
    ration: Ration,
}

impl DebtBook {
    pub(super) fn open(map: Debts) -> Self {
        Self { map, owing: HashSet::new(), ration: Ration::new(Instant::now()) }
    }

    pub(super) fn put_down(&mut self, tuple: ClientTuple, owed: &Owed) {
        self.owing.insert(tuple);
        if let Err(error) = self.map.set(&client_key(tuple), &debt(owed))
            && self.ration.take(Instant::now()).is_some()
        {
            tracing::warn!("a restart would lose what a client has sent: {error:#}");
        }
    }

    /// Forgets a debt: it is paid, or nobody waits for it any more.
    pub(super) fn strike(&mut self, tuple: ClientTuple) {
        if self.owing.remove(&tuple) {
            self.map.forget(&client_key(tuple));
        }
    }

    /// The clients on whose behalf something is owed.
    pub(super) fn owing(&self) -> HashSet<ClientKey> {
        self.map.list().into_iter().map(|(key, _)| key).collect()
    }

    /// What an earlier daemon owed.
    pub(super) fn inherited(&self) -> Vec<(ClientTuple, Owed)> {
        self.map.list().iter().map(|(key, debt)| (flows::tuple(key), owed(debt))).collect()
    }

    /// Forgets a debt that is taken over from an earlier daemon; it is put down anew if it stays one.
    pub(super) fn take_over(&mut self, tuple: ClientTuple) {
        self.map.forget(&client_key(tuple));
    }
}

/// What is owed, as the map holds it.
fn debt(owed: &Owed) -> Debt {
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
