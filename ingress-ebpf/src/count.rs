//! Counters, one slot per CPU; only the daemon adds them up.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use ingress_common::{
    maps::{COUNTERS, Volume},
    verdict::{Cookie, DropReason, Traffic},
};

#[map]
static DROPS: PerCpuArray<u64> = PerCpuArray::pinned(COUNTERS, 0);
#[map]
static COOKIES: PerCpuArray<u64> = PerCpuArray::pinned(COUNTERS, 0);
#[map]
static TRAFFIC: PerCpuArray<Volume> = PerCpuArray::pinned(COUNTERS, 0);

/// Counts a dropped packet.
#[inline(always)]
pub fn drop(reason: DropReason) {
    bump(&DROPS, reason as u32);
}

/// Counts what became of a cookie.
#[inline(always)]
pub fn cookie(event: Cookie) {
    bump(&COOKIES, event as u32);
}

/// Counts forwarded packets and octets of the network layer.
#[inline(always)]
pub fn traffic(path: Traffic, packets: u64, bytes: u64) {
    if let Some(volume) = TRAFFIC.get_ptr_mut(path as u32) {
        // SAFETY: the slot belongs to this CPU, and tc programs are not preempted by one another.
        unsafe {
            (*volume).packets += packets;
            (*volume).bytes += bytes;
        }
    }
}

#[inline(always)]
fn bump(counters: &PerCpuArray<u64>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: as in `traffic`.
        unsafe { *counter += 1 };
    }
}
