//! The start: everything is put together, made to match the network once, and set to work.

use std::{
    net::{SocketAddr, SocketAddrV4},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

#[cfg(feature = "log-packets")]
use super::packets;
use super::{
    desk::Desk,
    engine::{self, Engine},
    reconciler::{Lesson, Reconciler, Reload},
    running::Running,
    shared::Shared,
};
use crate::{
    capabilities,
    config::Config,
    control,
    dataplane::{Claim, Dataplane, FlowMaps, Tables},
    metrics,
    netlink::Netlink,
};

/// Everything that works together, before it does.
pub struct Parts {
    shared: Arc<Shared>,
    reconciler: Reconciler,
    engine: Engine,
    desk: Arc<Desk>,
    control: control::Server,
    metrics: Option<metrics::Server>,
    /// To the reconciler, from SIGHUP.
    reloads: mpsc::Sender<Reload>,
    reload_inbox: mpsc::Receiver<Reload>,
    lessons: mpsc::Receiver<(SocketAddrV4, Lesson)>,
}

impl Parts {
    /// Loads the programs, opens every socket, and puts the tasks together. Nothing is attached yet.
    ///
    /// What the configuration can ask for in vain comes before the first sign of life: a daemon that ends here and is
    /// started again and again must not look like one that is there.
    ///
    /// # Errors
    /// Where something is missing, is not permitted, or belongs to another daemon.
    pub async fn assemble(path: PathBuf, config: Config) -> Result<Self> {
        capabilities::require()?;
        let claim = Claim::take(&config.daemon.bpffs)?;
        #[cfg_attr(
            not(feature = "log-packets"),
            expect(unused_mut, reason = "read by that feature")
        )]
        let (mut dataplane, tables) =
            undisturbed(|| Dataplane::open(&config.daemon.bpffs, config.daemon.flows))?;
        #[cfg(feature = "log-packets")]
        packets::log(&mut dataplane)?;
        let Tables { network, handshakes, counters } = tables;
        let counters = Arc::new(counters);
        let shared = Arc::new(Shared::new(path, config));
        note_capacity(&shared, &dataplane)?;
        let netlink = Netlink::connect()?;
        let reconciler =
            Reconciler::new(claim, dataplane, network, netlink, counters.clone(), shared.clone());
        let (requests, inbox) = mpsc::channel(16);
        let (teach, lessons) = mpsc::channel(64);
        let engine = Engine::new(handshakes, shared.clone(), inbox, teach)?;
        let (reloads, reload_inbox) = mpsc::channel(4);
        let desk = Arc::new(Desk::new(shared.clone(), counters, requests, reloads.clone()));
        let config = shared.config();
        let control = control::Server::bind(&config.control.socket)
            .with_context(|| format!("listen on {}", config.control.socket.display()))?;
        let metrics = match config.metrics.listen {
            Some(address) => Some(listen_for_metrics(address, &desk, &shared).await?),
            None => None,
        };
        Ok(Self {
            shared,
            reconciler,
            engine,
            desk,
            control,
            metrics,
            reloads,
            reload_inbox,
            lessons,
        })
    }

    /// Fills the tables and attaches the programs, and takes over what an earlier daemon owed. The tables are complete,
    /// keys and heartbeat included, before the first program runs.
    ///
    /// # Errors
    /// Where keys or heartbeat cannot be written.
    pub async fn first_pass(&mut self) -> Result<()> {
        self.engine.beat()?;
        if let Err(error) = self.reconciler.reconcile().await {
            // Some of it is better than nothing, and the next look may find what is missing.
            tracing::error!("not all is in place: {error:#}");
        }
        self.engine.inherit();
        Ok(())
    }

    /// Sets everything to work, and gives up what only the start has needed.
    ///
    /// # Errors
    /// Where the kernel keeps the capabilities, a signal or a thread from us.
    pub fn start(self, hang_up: Signal) -> Result<Running> {
        let control = tokio::spawn(self.control.serve(self.desk.clone()));
        if let Some(server) = self.metrics {
            tokio::spawn(self.desk.keep_history());
            tokio::spawn(server.serve());
        }
        let reconciler = tokio::spawn(self.reconciler.run(self.reload_inbox, self.lessons));
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        capabilities::keep_what_running_needs().context("give up the capabilities of the start")?;
        // Its thread begins with what this one has left.
        let engine = engine::thread::start(self.engine)?;
        Ok(Running {
            shared: self.shared,
            control,
            reconciler,
            engine,
            reloads: self.reloads,
            terminate,
            interrupt,
            hang_up,
        })
    }
}

async fn listen_for_metrics(
    address: SocketAddr,
    desk: &Arc<Desk>,
    shared: &Shared,
) -> Result<metrics::Server> {
    let registry =
        metrics::registry(desk.clone(), shared.resolver.metrics(), &shared.handshake_seconds);
    metrics::Server::bind(address, registry, desk.clone())
        .await
        .with_context(|| format!("listen on {address} for [metrics]"))
}

/// The verifier lets itself be interrupted by signals, and begins anew each time. Other threads take them meanwhile.
fn undisturbed<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let done = work();
    before.thread_set_mask()?;
    done
}

/// A pinned table keeps the size that it was made with, and its flows are worth more than another size.
fn note_capacity(shared: &Shared, dataplane: &Dataplane) -> Result<()> {
    let wanted = shared.config().daemon.flows;
    let real = FlowMaps::capacity(dataplane.directory())?;
    if real != wanted {
        tracing::warn!(
            "[daemon] flows = {wanted} has no effect: the pinned flow table has room for {real}. To make it \
             anew, which ends its flows: stop ingressd, run `ingressd detach`, start it again"
        );
    }
    shared.flow_capacity.store(u64::from(real), Ordering::Relaxed);
    Ok(())
}
