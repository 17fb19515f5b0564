//! Whether there is a daemon.

use aya_ebpf::{helpers::bpf_jiffies64, macros::map, maps::Array};
use ingress_common::heartbeat;

use crate::packet::now;

/// When the daemon last gave a sign of life, in nanoseconds since boot.
#[map]
static HEARTBEAT: Array<u64> = Array::pinned(1, 0);
/// The last answer of [`was_fresh`]: the tick of the kernel's clock that it is for, shifted left by one bit, and in
/// that bit whether the daemon lived.
#[map]
static FOUND: Array<u64> = Array::with_max_entries(1, 0);

/// Whether there is a daemon now.
#[inline(always)]
pub fn is_fresh(now: u64) -> bool {
    match HEARTBEAT.get(0) {
        Some(beat) => heartbeat::is_fresh(*beat, now),
        None => false,
    }
}

/// Whether there is a daemon, as found in this tick of the kernel's clock: reading the time for every packet costs too
/// much.
#[inline(always)]
pub fn was_fresh() -> bool {
    let Some(found) = FOUND.get_ptr_mut(0) else { return false };
    // SAFETY: takes no argument.
    let tick = unsafe { bpf_jiffies64() } << 1;
    // SAFETY: eight aligned octets of a live map value. CPUs that write in the same tick write the same.
    let known = unsafe { found.read_volatile() };
    if known & !1 == tick {
        return known & 1 == 1;
    }
    let fresh = is_fresh(now());
    // SAFETY: as for `known`.
    unsafe { found.write_volatile(tick | fresh as u64) };
    fresh
}
