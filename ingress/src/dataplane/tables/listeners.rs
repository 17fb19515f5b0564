//! Which ports are listened on.

use std::collections::HashMap as StdHashMap;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use ingress_common::maps::{Listener, ListenerKey};

use super::super::take;

/// What is listened on.
pub struct Listeners(HashMap<MapData, ListenerKey, Listener>);

impl Listeners {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self(HashMap::try_from(take(ebpf, "LISTENERS")?)?))
    }

    /// What the map holds.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn list(&self) -> Result<StdHashMap<ListenerKey, Listener>> {
        self.0.iter().collect::<Result<_, _>>().context("read what is listened on")
    }

    /// Changes one entry.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn set(&mut self, key: &ListenerKey, listener: Listener) -> Result<()> {
        self.0.insert(key, listener, 0).context("list a port")
    }

    /// Makes the map hold exactly `wanted`. What is new comes before the old goes, unless there is no room for both.
    ///
    /// # Errors
    /// Where `wanted` is too much; the map then holds what there is room for.
    pub fn replace(&mut self, wanted: &StdHashMap<ListenerKey, Listener>) -> Result<()> {
        let full = self.add(wanted).is_err();
        let present: Vec<ListenerKey> = self.0.keys().collect::<Result<_, _>>()?;
        for key in present.iter().filter(|key| !wanted.contains_key(*key)) {
            self.0.remove(key).context("unlist a port")?;
        }
        if full { self.add(wanted) } else { Ok(()) }
    }

    /// Tries each, since what is in the map already can be changed even where there is no room for more.
    fn add(&mut self, wanted: &StdHashMap<ListenerKey, Listener>) -> Result<()> {
        let mut result = Ok(());
        for (key, listener) in wanted {
            result = result.and(self.set(key, *listener));
        }
        result
    }
}
