//! The cookies' keys, and the sign of life.

use std::path::Path;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use ingress_common::maps::CookieKeys;

use super::super::take;

/// The cookies' keys, and the sign of life.
pub struct Secrets {
    keys: Array<MapData, CookieKeys>,
    heartbeat: Array<MapData, u64>,
}

impl Secrets {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            keys: Array::try_from(take(ebpf, "SECRETS")?)?,
            heartbeat: Array::try_from(take(ebpf, "HEARTBEAT")?)?,
        })
    }

    /// The keys in force.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn keys(&self) -> Result<CookieKeys> {
        self.keys.get(&0, 0).context("read the cookie keys")
    }

    /// Puts other keys in force.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn set_keys(&mut self, keys: CookieKeys) -> Result<()> {
        self.keys.set(0, keys, 0).context("set the cookie keys")
    }

    /// Tells the programs that a daemon lives.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn beat(&mut self, now: u64) -> Result<()> {
        self.heartbeat.set(0, now, 0).context("beat")
    }
}

/// The sign of life as the programs see it, opened once more through its pin.
pub struct Heartbeat(Array<MapData, u64>);

impl Heartbeat {
    /// Opens the map through its pin.
    ///
    /// # Errors
    /// Where it is not pinned below `directory`.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("HEARTBEAT");
        let map = MapData::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self(Array::try_from(Map::Array(map))?))
    }

    /// When a daemon last beat, in nanoseconds since boot.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn last(&self) -> Result<u64> {
        self.0.get(&0, 0).context("read the heartbeat")
    }
}
