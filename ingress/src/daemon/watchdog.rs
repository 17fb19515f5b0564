//! Tells systemd's watchdog that the engine lives.
//!
//! A thread of its own does that: a systemd that is busy lets the writer wait, and the engine must not.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use ingress_common::heartbeat;
use sd_notify::NotifyState;

use super::{clock::boot_nanos, shared::Shared};

/// An engine without a beat for so long is taken for gone, by the programs, too.
const FRESH: Duration = Duration::from_nanos(heartbeat::LIMIT);

/// Starts the thread, where systemd wants to be told.
pub fn start(shared: Arc<Shared>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    thread::spawn(move || {
        loop {
            let age = boot_nanos().saturating_sub(shared.last_beat.load(Ordering::Relaxed));
            if Duration::from_nanos(age) < FRESH {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            }
            thread::sleep(limit / 3);
        }
    });
}
