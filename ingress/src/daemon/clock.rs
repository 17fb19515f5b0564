//! The clock that the programs read, too.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, suspended time included (`bpf_ktime_get_boot_ns`).
pub fn boot_nanos() -> u64 {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let (seconds, nanos) = (time.tv_sec(), time.tv_nsec());
        u64::try_from(seconds).unwrap_or(0) * 1_000_000_000 + u64::try_from(nanos).unwrap_or(0)
    })
}
