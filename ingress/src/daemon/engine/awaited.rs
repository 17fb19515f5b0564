//! Whose packets are awaited: the marks by which the programs hand them up, and the handshakes they belong to.

use std::collections::HashSet;

use anyhow::Result;
use ingress_common::maps::{BackendKey, ClientKey};

use super::owners::Owners;
use crate::{
    daemon::clock::boot_nanos, dataplane::Marks, flows::client_key, handshake::ClientTuple,
};

pub(super) struct Awaited {
    marks: Marks,
    /// The handshakes that backends' answers belong to.
    expected: Owners,
    /// The handshakes whose owed octets backends' acknowledgments may cover.
    watched: Owners,
    /// Handshakes whose flow has been written, so that packets need not be handed up any more.
    settled: Vec<(ClientTuple, BackendKey)>,
}

impl Awaited {
    /// Takes back every mark of an earlier daemon, except those of clients whose handshakes go on (`owing`).
    pub(super) fn new(mut marks: Marks, owing: &HashSet<ClientKey>) -> Result<Self> {
        marks.clear(owing)?;
        let (expected, watched) = (Owners::default(), Owners::default());
        Ok(Self { marks, expected, watched, settled: Vec::new() })
    }

    /// Has a client's packets handed up.
    pub(super) fn pend(&mut self, tuple: ClientTuple) {
        warn("mark a client", self.marks.pend(&client_key(tuple), boot_nanos()));
    }

    /// Has a client's packets handed up no more.
    pub(super) fn unpend(&mut self, tuple: ClientTuple) {
        self.marks.unpend(&client_key(tuple));
    }

    /// Has the packets of a backend handed up that is about to be sent a SYN.
    pub(super) fn expect(&mut self, tuple: ClientTuple, key: BackendKey) {
        self.expected.insert(key, tuple);
        warn("expect a backend", self.marks.expect(&key, boot_nanos()));
    }

    /// Has a backend's packets handed up no more. Only the owner's word counts: another handshake may expect the same
    /// backend by now.
    pub(super) fn unexpect(&mut self, owner: ClientTuple, key: &BackendKey) {
        if self.expected.get(key).is_none_or(|known| known == owner) {
            self.expected.remove(key);
            self.marks.unexpect(key);
        }
    }

    /// Waits for a backend to acknowledge what it is owed.
    pub(super) fn watch(&mut self, tuple: ClientTuple, key: BackendKey) {
        self.watched.insert(key, tuple);
    }

    /// The handshake that a backend's answer belongs to.
    pub(super) fn expects(&self, key: &BackendKey) -> Option<ClientTuple> {
        self.expected.get(key)
    }

    /// The handshake that waits for a backend's acknowledgment.
    pub(super) fn watches(&self, key: &BackendKey) -> Option<ClientTuple> {
        self.watched.get(key)
    }

    /// A flow has been written: both ends' marks go with the next [`Self::settle`]. The programs look for a flow before
    /// they look for marks, so that can wait until all is sent.
    pub(super) fn settle_soon(&mut self, tuple: ClientTuple, key: BackendKey) {
        self.settled.push((tuple, key));
    }

    pub(super) fn settle(&mut self) {
        while let Some((tuple, key)) = self.settled.pop() {
            self.unpend(tuple);
            self.unexpect(tuple, &key);
        }
    }

    /// A handshake has ended. Of one whose flow was written, the client's mark is gone already.
    pub(super) fn end(&mut self, tuple: ClientTuple, spliced: bool) {
        if !spliced {
            self.unpend(tuple);
        }
        for key in self.expected.remove_all(tuple) {
            self.marks.unexpect(&key);
        }
        self.watched.remove_all(tuple);
    }
}

/// Without its mark a packet is judged as a stranger's, and the handshake goes on by its timeouts.
fn warn(what: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!("{what}: {error:#}");
    }
}
