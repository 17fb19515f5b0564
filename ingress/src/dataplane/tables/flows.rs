//! The flow table's maps, and names as they hold them.

use std::path::Path;

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapInfo},
};
use ingress_common::maps::{BackendKey, ClientKey, Host, MAX_HOST_LEN, ToBackend, ToClient};

use super::super::take;

/// The flow table's maps.
pub struct FlowMaps {
    /// Client → backend.
    pub to_backend: HashMap<MapData, ClientKey, ToBackend>,
    /// Backend → client.
    pub to_client: HashMap<MapData, BackendKey, ToClient>,
    /// Names by number.
    pub hosts: HashMap<MapData, u32, Host>,
}

impl FlowMaps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            to_backend: HashMap::try_from(take(ebpf, "FLOWS")?)?,
            to_client: HashMap::try_from(take(ebpf, "RETURNS")?)?,
            hosts: HashMap::try_from(take(ebpf, "HOSTS")?)?,
        })
    }

    /// The same maps, opened once more through their pins.
    ///
    /// # Errors
    /// Where they are not pinned below `directory`.
    pub fn open(directory: &Path) -> Result<Self> {
        let map = |name: &str| {
            let path = directory.join(name);
            MapData::from_pin(&path)
                .map(Map::HashMap)
                .with_context(|| format!("open {}", path.display()))
        };
        Ok(Self {
            to_backend: HashMap::try_from(map("FLOWS")?)?,
            to_client: HashMap::try_from(map("RETURNS")?)?,
            hosts: HashMap::try_from(map("HOSTS")?)?,
        })
    }

    /// How many flows fit. A pinned table has the size that it was made with.
    ///
    /// # Errors
    /// Where it is not pinned below `directory`.
    pub fn capacity(directory: &Path) -> Result<u32> {
        let path = directory.join("FLOWS");
        let info =
            MapInfo::from_pin(&path).with_context(|| format!("look at {}", path.display()))?;
        Ok(info.max_entries())
    }
}

/// A name as the maps hold it.
#[must_use]
pub fn host(name: &str) -> Host {
    let mut host = Host { len: 0, name: [0; MAX_HOST_LEN + 2] };
    let len = name.len().min(MAX_HOST_LEN);
    host.name[..len].copy_from_slice(&name.as_bytes()[..len]);
    host.len = u8::try_from(len).unwrap_or(u8::MAX);
    host
}

/// The name in such a value.
#[must_use]
pub fn host_name(host: &Host) -> String {
    let name = host.name.get(..usize::from(host.len)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
