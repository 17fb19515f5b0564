//! The clock that the programs read, too. It goes on while the machine is suspended, and nobody sets it.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, suspended time included (`bpf_ktime_get_boot_ns`).
pub fn boot_nanos() -> u64 {
    u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX)
}

/// Time since boot, for what waits for longer than a machine is awake. An `Instant` stands still during suspension.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}
