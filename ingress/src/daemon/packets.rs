//! What the programs say of each packet, put into the log.

use anyhow::{Context, Result};
use tokio::io::{Interest, unix::AsyncFd};

use crate::dataplane::Dataplane;

/// Begins to put the lines into the log, for as long as the daemon runs.
pub fn log(dataplane: &mut Dataplane) -> Result<()> {
    let logger = dataplane.packet_log()?;
    // SAFETY: the logger owns the map whose descriptor it shows, and always shows that one.
    let mut logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
        .context("watch what the programs say")?;
    tracing::warn!("this build writes a line for each packet: it is for finding faults, and slow");
    tokio::spawn(async move {
        while let Ok(mut ready) = logger.readable_mut().await {
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    });
    Ok(())
}
