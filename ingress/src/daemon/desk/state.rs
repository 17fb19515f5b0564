//! How the daemon, its interfaces and its sites are.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::{Context, Result};
use ingress_common::maps::Offer;

use super::{
    super::{clock::boot_nanos, engine::Request as Ask, shared::Shared},
    Desk,
};
use crate::{
    config::{Config, network_of},
    control::{Attachment, FlowTable, Interface, Listener, SiteStatus, Status},
    dataplane::{Heartbeat, Pins},
    wireguard,
};

impl Desk {
    pub(super) async fn status(&self) -> Result<Status> {
        let shared = self.shared.clone();
        // Tunnels in userspace are asked over sockets.
        let read = move || (sites(&shared, &shared.config()), heartbeat_age(&shared));
        let (sites, heartbeat_age) = tokio::task::spawn_blocking(read).await?;
        let heartbeat_age = heartbeat_age?;
        let (shared, config) = (&self.shared, self.shared.config());
        let applied = shared.applied();
        let mut listen: Vec<Listener> = applied
            .listeners
            .iter()
            .map(|(address, listening)| Listener {
                address: *address,
                protocol: listening.protocol,
                timestamps: Offer::from_number(listening.promise.timestamps).into(),
                sack: Offer::from_number(listening.promise.sack).into(),
                mss: u16::from_be_bytes(listening.promise.mss),
                mss_lowered: listening.promise.lowered != 0,
            })
            .collect();
        listen.sort_by_key(|listener| listener.address);
        let stuck = || format!("the last sign of life is {heartbeat_age:?} old");
        let entries = self.ask(Ask::FlowCount).await.with_context(stuck)?;
        let handshakes = self.ask(Ask::Handshakes).await.with_context(stuck)?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: shared.started.elapsed().as_secs(),
            config: shared.path.clone(),
            last_reload: shared.last_reload(),
            uplink: applied
                .uplink
                .clone()
                .unwrap_or_else(|| absent(config.uplink.interface.as_str())),
            shield: applied.shield,
            native_is_lost: applied.native_is_lost,
            sites,
            nat46_prefix: network_of(&config.nat46),
            listen,
            policy: (&config.policy).into(),
            flow_table: FlowTable { entries, max_entries: capacity(shared) },
            handshakes_in_progress: handshakes.len() as u64,
            heartbeat_age_seconds: (heartbeat_age.as_secs_f64() * 1000.0).round() / 1000.0,
        })
    }
}

/// How many flows fit, which a pinned table decided when it was made.
pub(super) fn capacity(shared: &Shared) -> u64 {
    shared.flow_capacity.load(Ordering::Relaxed)
}

/// Blocks for as long as tunnels in userspace take to answer.
pub(super) fn sites(shared: &Shared, config: &Config) -> Vec<SiteStatus> {
    let applied = shared.applied();
    let tunnel = |name: &str| {
        let known = applied.tunnels.iter().find(|tunnel| tunnel.name == name);
        known.cloned().unwrap_or_else(|| absent(name))
    };
    config
        .sites
        .iter()
        .map(|site| {
            let peers = wireguard::peers(site.interface.as_str()).unwrap_or_else(|error| {
                tracing::debug!(%error, interface = %site.interface, "WireGuard does not answer");
                None
            });
            SiteStatus {
                name: site.name.clone(),
                interface: tunnel(site.interface.as_str()),
                prefixes: site.prefixes.clone(),
                wireguard: peers.is_some(),
                last_handshake_timestamp_seconds: peers
                    .and_then(|peers| wireguard::last_handshake(&peers, &site.prefixes)),
            }
        })
        .collect()
}

/// As the programs see it.
fn heartbeat_age(shared: &Shared) -> Result<Duration> {
    let pins = Pins::open(&shared.config().daemon.bpffs)?;
    let last = Heartbeat::open(pins.maps())?.last()?;
    Ok(Duration::from_nanos(boot_nanos().saturating_sub(last)))
}

pub(super) fn absent(name: &str) -> Interface {
    Interface { name: name.to_owned(), index: None, mtu: None, attachment: Attachment::None }
}
