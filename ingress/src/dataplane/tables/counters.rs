//! What the programs count.

use anyhow::Result;
use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use ingress_common::{
    maps::Volume,
    verdict::{Cookie, DropReason, Traffic},
};

use super::super::take;

/// What the programs count.
pub struct Counters {
    drops: PerCpuArray<MapData, u64>,
    cookies: PerCpuArray<MapData, u64>,
    traffic: PerCpuArray<MapData, Volume>,
}

impl Counters {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            drops: PerCpuArray::try_from(take(ebpf, "DROPS")?)?,
            cookies: PerCpuArray::try_from(take(ebpf, "COOKIES")?)?,
            traffic: PerCpuArray::try_from(take(ebpf, "TRAFFIC")?)?,
        })
    }

    /// Packets dropped for a reason.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        sum(&self.drops, reason as u32)
    }

    /// Cookies with a result.
    #[must_use]
    pub fn cookies(&self, result: Cookie) -> u64 {
        sum(&self.cookies, result as u32)
    }

    /// Packets and octets one way on one path.
    #[must_use]
    pub fn traffic(&self, path: Traffic) -> Volume {
        let Ok(values) = self.traffic.get(&(path as u32), 0) else { return Volume::default() };
        values.iter().fold(Volume::default(), |sum, volume| Volume {
            packets: sum.packets + volume.packets,
            bytes: sum.bytes + volume.bytes,
        })
    }
}

fn sum(counters: &PerCpuArray<MapData, u64>, index: u32) -> u64 {
    counters.get(&index, 0).map_or(0, |values| values.iter().sum())
}
