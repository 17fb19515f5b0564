//! The keys of the cookies, and the sign of life that the programs want before they answer a SYN.

use anyhow::Result;
use ingress_common::maps::CookieKeys;

use crate::{daemon::keys, dataplane::Secrets};

pub(super) struct KeyRing {
    secrets: Secrets,
    keys: CookieKeys,
}

impl KeyRing {
    /// With the keys that are in force.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub(super) fn open(secrets: Secrets) -> Result<Self> {
        Ok(Self { keys: secrets.keys()?, secrets })
    }

    /// The keys by which cookies are checked.
    pub(super) fn keys(&self) -> &CookieKeys {
        &self.keys
    }

    /// A sign of life, and fresh keys where they are due. `now` is in nanoseconds since boot.
    ///
    /// # Errors
    /// Where the maps cannot be written, or the system has no random numbers.
    pub(super) fn beat(&mut self, now: u64) -> Result<()> {
        if let Some(keys) = keys::due(&self.keys, now)? {
            self.secrets.set_keys(keys)?;
            self.keys = keys;
        }
        self.secrets.beat(now)
    }
}
