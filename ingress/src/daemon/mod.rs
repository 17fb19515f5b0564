//! ingressd: the modules wired together.
//!
//! Three tasks share the work. The engine, in a thread of its own, answers upcalls and drives the handshakes; the
//! reconciler keeps the programs and their tables in step with the network and the configuration; the desk answers
//! ingressctl and Prometheus.

mod announced;
mod desk;
mod engine;
mod history;
mod keys;
#[cfg(feature = "log-packets")]
mod packets;
mod plan;
mod ration;
mod reconciler;
mod refusals;
mod running;
mod shared;
mod shield;
mod start;
mod watchdog;

use std::path::PathBuf;

use anyhow::Result;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::{clock, config::Config};
use start::Parts;

/// Runs until SIGTERM or SIGINT. Flows go on without the daemon.
///
/// # Errors
/// Where it cannot start, or can no longer do its work.
pub async fn run(path: PathBuf, config: Config) -> Result<()> {
    // First of all: a reload that is asked for during the start comes after it, and does not end it.
    let hang_up = signal(SignalKind::hangup())?;
    let mut parts = Parts::assemble(path, config).await?;
    parts.first_pass().await?;
    let mut running = parts.start(hang_up)?;
    notify(&[NotifyState::Ready]);
    running.watch();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    let result = running.until_told_to_stop().await;
    notify(&[NotifyState::Stopping]);
    running.stop().await;
    tracing::info!("stopped; established flows go on");
    result
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}
