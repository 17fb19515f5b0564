//! The daemon at work: what signals mean to it, and how it ends.

use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::{
    signal::unix::Signal,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{engine::thread, reconciler::Reload, shared::Shared, watchdog};

/// The tasks at work, and the signals that they are told by.
pub struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) control: JoinHandle<()>,
    pub(super) reconciler: JoinHandle<Result<()>>,
    pub(super) engine: thread::Running,
    pub(super) reloads: mpsc::Sender<Reload>,
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hang_up: Signal,
}

impl Running {
    /// Has systemd replace a daemon whose engine is stuck.
    pub fn watch(&self) {
        watchdog::start(self.shared.clone());
    }

    /// Waits for SIGTERM or SIGINT. SIGHUP is a reload.
    ///
    /// # Errors
    /// Where a task has ended by itself.
    pub async fn until_told_to_stop(&mut self) -> Result<()> {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.hang_up.recv() => request_reload(&self.reloads),
                ended = self.engine.ended() => return ended.context("the engine has stopped"),
                ended = &mut self.reconciler => {
                    return ended?.context("the reconciler has stopped");
                }
            }
        }
    }

    /// Ends the tasks. The control socket's file goes with them, so that nobody asks a daemon that is no more.
    pub async fn stop(self) {
        self.control.abort();
        let _ = self.control.await;
        self.engine.stop().await;
    }
}

/// SIGHUP: as `ingressctl reload`, with the answer in the log only. Nobody waits for it, so that SIGTERM is heard
/// meanwhile. Where there is no room for one more request, one that has not begun yet will read the same file.
fn request_reload(reloads: &mpsc::Sender<Reload>) {
    let (answer, _) = oneshot::channel();
    let _ = reloads.try_send(answer);
}
