//! The thread that the engine has for itself: no scrape, listing or look-up is between a packet and its answer, and no
//! other thread is woken for it.

use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tokio::{runtime::Builder, sync::oneshot, task::spawn_blocking};

use super::Engine;

/// An engine at work.
pub struct Running {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<Result<()>>,
    thread: JoinHandle<()>,
}

/// Starts the engine in its thread.
///
/// # Errors
/// Where no thread can be started.
pub fn start(engine: Engine) -> Result<Running> {
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let run = move || {
        let _ = end.send(run(engine, stopped));
    };
    let thread = thread::Builder::new().name("engine".to_owned()).spawn(run);
    Ok(Running { stop, ended, thread: thread.context("start a thread")? })
}

fn run(engine: Engine, stopped: oneshot::Receiver<()>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = engine.run() => result,
            _ = stopped => Ok(()),
        }
    })
}

impl Running {
    /// Waits until the engine ends without having been asked to.
    ///
    /// # Errors
    /// Why the engine ended.
    pub async fn ended(&mut self) -> Result<()> {
        (&mut self.ended).await.context("its thread is gone")?
    }

    /// Stops the engine between two events, if it has not ended, and waits for its thread.
    pub async fn stop(self) {
        drop(self.stop);
        let _ = spawn_blocking(|| self.thread.join()).await;
    }
}
