//! Whose packets are awaited: the marks by which the programs hand them up, and whose handshake they belong to.

use std::collections::HashSet;

use anyhow::Result;
use ingress_common::maps::{BackendKey, ClientKey};

use super::owners::Owners;
use crate::{
    daemon::clock::boot_nanos, dataplane::Marks, flows::client_key, handshake::ClientTuple,
};

pub(super) struct Awaited {
    marks: Marks,
    /// Whose answer a backend's packet is.
    expected: Owners,
    /// Whose owed octets a backend's acknowledgment covers.
    watched: Owners,
    /// Whose flow has been written, and whose packets need not be handed up any more.
    settled: Vec<(ClientTuple, BackendKey)>,
}

impl Awaited {
    /// Nobody's packets, but those of clients whose handshakes go on where an earlier daemon stood.
    pub(super) fn new(mut marks: Marks, owing: &HashSet<ClientKey>) -> Result<Self> {
        marks.clear(owing)?;
        let (expected, watched) = (Owners::default(), Owners::default());
        Ok(Self { marks, expected, watched, settled: Vec::new() })
    }

    /// A client's from now on.
    pub(super) fn pend(&mut self, tuple: ClientTuple) {
        warn("mark a client", self.marks.pend(&client_key(tuple), boot_nanos()));
    }

    /// A client's no more.
    pub(super) fn unpend(&mut self, tuple: ClientTuple) {
        self.marks.unpend(&client_key(tuple));
    }

    /// A backend's, which has been sent a SYN.
    pub(super) fn expect(&mut self, tuple: ClientTuple, key: BackendKey) {
        self.expected.insert(key, tuple);
        warn("expect a backend", self.marks.expect(&key, boot_nanos()));
    }

    /// A backend's no more. Only the owner's word counts: somebody else may expect the same by now.
    pub(super) fn unexpect(&mut self, owner: ClientTuple, key: &BackendKey) {
        if self.expected.get(key).is_none_or(|known| known == owner) {
            self.expected.remove(key);
            self.marks.unexpect(key);
        }
    }

    /// The acknowledgment of what is owed to a backend.
    pub(super) fn watch(&mut self, tuple: ClientTuple, key: BackendKey) {
        self.watched.insert(key, tuple);
    }

    /// Whose answer this is.
    pub(super) fn expects(&self, key: &BackendKey) -> Option<ClientTuple> {
        self.expected.get(key)
    }

    /// Whose acknowledgment this is.
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
