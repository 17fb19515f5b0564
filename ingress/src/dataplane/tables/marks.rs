//! Tuples whose packets are handed up.

use std::collections::HashSet;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData, MapError},
};
use ingress_common::maps::{BackendKey, ClientKey};

use super::super::take;

/// The tuples whose packets are handed up to the daemon.
pub struct Marks {
    pending: HashMap<MapData, ClientKey, u64>,
    expected: HashMap<MapData, BackendKey, u64>,
}

impl Marks {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            pending: HashMap::try_from(take(ebpf, "PENDING")?)?,
            expected: HashMap::try_from(take(ebpf, "EXPECTED")?)?,
        })
    }

    /// Has every packet of a client handed up.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn pend(&mut self, key: &ClientKey, now: u64) -> Result<()> {
        self.pending.insert(key, now, 0).context("mark a client")
    }

    /// Has a client's packets handed up no more.
    pub fn unpend(&mut self, key: &ClientKey) {
        forget(self.pending.remove(key));
    }

    /// Has every packet of a backend handed up.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn expect(&mut self, key: &BackendKey, now: u64) -> Result<()> {
        self.expected.insert(key, now, 0).context("expect a backend")
    }

    /// Has a backend's packets handed up no more.
    pub fn unexpect(&mut self, key: &BackendKey) {
        forget(self.expected.remove(key));
    }

    /// Takes back what an earlier daemon left, since nobody is going to answer; except of clients whose handshakes go
    /// on.
    ///
    /// # Errors
    /// Where the maps cannot be read.
    pub fn clear(&mut self, except: &HashSet<ClientKey>) -> Result<()> {
        let pending = self.pending.keys().collect::<Result<HashSet<_>, _>>()?;
        for key in pending.difference(except) {
            self.unpend(key);
        }
        for key in self.expected.keys().collect::<Result<HashSet<_>, _>>()? {
            self.unexpect(&key);
        }
        Ok(())
    }
}

/// A mark that is gone is as good as one taken back.
pub(super) fn forget(result: Result<(), MapError>) {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => {}
        Err(MapError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => tracing::warn!(%error, "a mark stays in its map"),
    }
}
