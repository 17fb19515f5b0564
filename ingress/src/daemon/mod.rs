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
mod shared;
mod shield;
mod watchdog;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};

use crate::{
    capabilities, clock,
    config::Config,
    control,
    dataplane::{Claim, Dataplane, FlowMaps},
    metrics,
    netlink::Netlink,
};
use desk::Desk;
use engine::Engine;
use reconciler::Reconciler;
use shared::Shared;

/// Runs until SIGTERM or SIGINT. Flows go on without the daemon.
///
/// # Errors
/// Where it cannot start, or can no longer do its work.
pub async fn run(path: PathBuf, config: Config) -> Result<()> {
    // First of all: a reload that is asked for during the start comes after it, and does not end it.
    let mut hang_up = signal(SignalKind::hangup())?;
    capabilities::require()?;
    let claim = Claim::take(&config.daemon.bpffs)?;
    #[cfg_attr(not(feature = "log-packets"), expect(unused_mut, reason = "read by that feature"))]
    let (mut dataplane, tables) =
        undisturbed(|| Dataplane::open(&config.daemon.bpffs, config.daemon.flows))?;
    #[cfg(feature = "log-packets")]
    packets::log(&mut dataplane)?;
    let shared = Arc::new(Shared::new(path, config));
    note_capacity(&shared, &dataplane)?;
    let netlink = Netlink::connect()?;
    let counters = Arc::new(tables.counters);
    let (requests, inbox) = mpsc::channel(16);
    let (teach, lessons) = mpsc::channel(64);
    let mut reconciler = Reconciler::new(
        claim,
        dataplane,
        reconciler::Maps {
            devices: tables.devices,
            site_names: tables.site_names,
            routes: tables.routes,
            next_hops: tables.next_hops,
            routes4: tables.routes4,
            listeners: tables.listeners,
            policy: tables.policy,
        },
        netlink,
        counters.clone(),
        shared.clone(),
    );
    let mut engine = Engine::new(
        engine::Maps {
            upcalls: tables.upcalls,
            marks: tables.marks,
            debts: tables.debts,
            secrets: tables.secrets,
            flows: tables.flows,
        },
        shared.clone(),
        inbox,
        teach,
    )?;
    // What the configuration can ask for in vain comes before the first sign of life: a daemon that ends here and is
    // started again and again must not look like one that is there.
    let config = shared.config();
    let (reloads, reload_inbox) = mpsc::channel(4);
    let desk = Arc::new(Desk::new(shared.clone(), counters, requests, reloads.clone()));
    let control = control::Server::bind(&config.control.socket)
        .with_context(|| format!("listen on {}", config.control.socket.display()))?;
    let metrics = match config.metrics.listen {
        Some(address) => Some(listen_for_metrics(address, &desk, &shared).await?),
        None => None,
    };
    // The tables are complete, keys and heartbeat included, before the first program runs.
    engine.beat()?;
    if let Err(error) = reconciler.reconcile().await {
        // Some of it is better than nothing, and the next look may find what is missing.
        tracing::error!("not all is in place: {error:#}");
    }
    engine.inherit();

    let control = tokio::spawn(control.serve(desk.clone()));
    if let Some(server) = metrics {
        tokio::spawn(desk.keep_history());
        tokio::spawn(server.serve());
    }
    let mut reconciler = tokio::spawn(reconciler.run(reload_inbox, lessons));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    capabilities::keep_what_running_needs().context("give up the capabilities of the start")?;
    // Its thread begins with what this one has left.
    let mut engine = engine::thread::start(engine)?;
    notify(&[NotifyState::Ready]);
    watchdog::start(shared.clone());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    let result = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hang_up.recv() => request_reload(&reloads),
            ended = engine.ended() => break ended.context("the engine has stopped"),
            ended = &mut reconciler => break ended?.context("the reconciler has stopped"),
        }
    };
    notify(&[NotifyState::Stopping]);
    // Its file goes with it, so that nobody asks a daemon that is no more.
    control.abort();
    let _ = control.await;
    engine.stop().await;
    tracing::info!("stopped; established flows go on");
    result
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

/// SIGHUP: as `ingressctl reload`, with the answer in the log only. Nobody waits for it, so that SIGTERM is heard
/// meanwhile. Where there is no room for one more request, one that has not begun yet will read the same file.
fn request_reload(reloads: &mpsc::Sender<reconciler::Reload>) {
    let (answer, _) = oneshot::channel();
    let _ = reloads.try_send(answer);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}
