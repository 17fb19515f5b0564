//! What the daemon has acknowledged in a backend's place, for the next daemon should this one go.

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use ingress_common::maps::{ClientKey, Debt};

use super::{super::take, marks::forget};

/// What clients will not send again.
pub struct Debts(HashMap<MapData, ClientKey, Debt>);

impl Debts {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self(HashMap::try_from(take(ebpf, "DEBTS")?)?))
    }

    /// Puts down what is owed on behalf of a client.
    ///
    /// # Errors
    /// Where the map is full.
    pub fn set(&mut self, key: &ClientKey, debt: &Debt) -> Result<()> {
        self.0.insert(key, debt, 0).context("put down what is owed")
    }

    /// Forgets a debt: it is paid, or nobody waits for it any more.
    pub fn forget(&mut self, key: &ClientKey) {
        forget(self.0.remove(key));
    }

    /// What an earlier daemon left.
    #[must_use]
    pub fn list(&self) -> Vec<(ClientKey, Debt)> {
        self.0.iter().filter_map(Result::ok).collect()
    }
}
