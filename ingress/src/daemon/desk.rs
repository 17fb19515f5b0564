//! The desk: answers ingressctl and Prometheus from the same numbers.

use std::{
    collections::HashMap,
    net::SocketAddrV6,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use ingress_common::{
    addr::Nat46Prefix,
    maps::Offer,
    verdict::{Cookie, DropReason, Traffic as Path},
};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    clock::boot_nanos,
    engine::{Handshake, Request as Ask},
    reconciler::Reload,
    shared::Shared,
};
use crate::{
    config::{Config, Protocol},
    control::{
        self, Control, Count, Direction, DropCount, Drops, ErrorKind, Filter, Flow, FlowState,
        FlowTable, Flows, Interface, Listener, Request, Response, SiteStatus, Stats, Status,
        Traffic,
    },
    dataplane::{Counters, FlowMaps, Pins},
    dns::LookupResult,
    flows::{self, Cause},
    handshake::{ClientTuple, Outcome},
    metrics::{FlowCount, Sample, Source},
};

/// Whoever wants numbers comes here.
pub struct Desk {
    shared: Arc<Shared>,
    counters: Counters,
    engine: mpsc::Sender<Ask>,
    reloads: mpsc::Sender<Reload>,
    /// One reload at a time.
    reloading: Mutex<()>,
}

impl Desk {
    /// Opens.
    pub fn new(
        shared: Arc<Shared>,
        counters: Counters,
        engine: mpsc::Sender<Ask>,
        reloads: mpsc::Sender<Reload>,
    ) -> Self {
        Self { shared, counters, engine, reloads, reloading: Mutex::new(()) }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.engine.send(request(answer)).await.ok().context("the engine has stopped")?;
        answered.await.context("the engine has stopped")
    }

    async fn flows(&self, filter: Filter) -> Result<Vec<Flow>> {
        let handshakes = self.ask(Ask::Handshakes).await?;
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            let handshakes = handshakes.iter().filter_map(|one| in_progress(&shared, one));
            let mut flows: Vec<Flow> = handshakes.collect();
            flows.extend(established(&shared)?);
            flows.retain(|flow| filter.matches(flow));
            Ok(flows)
        })
        .await?
    }

    async fn kill(&self, filter: Filter) -> Result<u64> {
        let tuples = self.flows(filter).await?.into_iter();
        let tuples = tuples
            .filter(|flow| flow.state != FlowState::Handshake)
            .map(|flow| ClientTuple { client: flow.client, listen: flow.listen })
            .collect();
        self.ask(|answer| Ask::Kill(tuples, answer)).await
    }

    async fn reload(&self) -> Response {
        let _one = self.reloading.lock().await;
        let (answer, answered) = oneshot::channel();
        if self.reloads.send(answer).await.is_err() {
            return Response::failed("the reconciler has stopped");
        }
        match answered.await {
            Ok(Ok(changes)) => Response::Reloaded { changes },
            Ok(Err(message)) => Response::Error { kind: ErrorKind::Configuration, message },
            Err(_) => Response::failed("the reconciler has stopped"),
        }
    }

    async fn status(&self) -> Result<Status> {
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
            })
            .collect();
        listen.sort_by_key(|listener| listener.address);
        let (entries, handshakes) =
            (self.ask(Ask::FlowCount).await?, self.ask(Ask::Handshakes).await?);
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
            sites: self.sites(&config),
            nat46_prefix: config.nat46.network(),
            listen,
            flow_table: FlowTable { entries, max_entries: u64::from(config.daemon.flows) },
            handshakes_in_progress: handshakes.len() as u64,
            // The engine has just answered, and beats as long as it can.
            heartbeat_age_seconds: 0,
        })
    }

    fn sites(&self, config: &Config) -> Vec<SiteStatus> {
        let applied = self.shared.applied();
        let tunnel = |nth: usize, name: &str| {
            applied.tunnels.get(nth).cloned().unwrap_or_else(|| absent(name))
        };
        config
            .sites
            .iter()
            .enumerate()
            .map(|(nth, site)| SiteStatus {
                name: site.name.clone(),
                interface: tunnel(nth, site.interface.as_str()),
                prefixes: site.prefixes.clone(),
                last_handshake_timestamp_seconds: None,
            })
            .collect()
    }

    fn stats(&self) -> Stats {
        let tally = &self.shared.tally;
        let dns = self.shared.resolver.metrics();
        Stats {
            traffic: Path::ALL.iter().map(|path| self.traffic(*path)).collect(),
            flows_opened: tally.opened.load(Ordering::Relaxed),
            flows_closed: Cause::ALL
                .iter()
                .map(|cause| Count::new(cause.as_str(), tally.closed_for(*cause)))
                .collect(),
            syn_cookies: Cookie::ALL
                .iter()
                .map(|result| Count::new(result.label(), self.counters.cookies(*result)))
                .collect(),
            handshakes: Outcome::ALL
                .iter()
                .map(|outcome| Count::new(outcome.as_str(), tally.ended_with(*outcome)))
                .collect(),
            dns_lookups: LookupResult::ALL
                .iter()
                .map(|result| Count::new(result.as_str(), dns.lookups(*result)))
                .collect(),
        }
    }

    fn traffic(&self, path: Path) -> Traffic {
        let volume = self.counters.traffic(path);
        let (way, direction) = match path {
            Path::Ipv6In => (control::Path::Ipv6, Direction::In),
            Path::Ipv6Out => (control::Path::Ipv6, Direction::Out),
            Path::Nat46In => (control::Path::Nat46, Direction::In),
            Path::Nat46Out => (control::Path::Nat46, Direction::Out),
        };
        Traffic { path: way, direction, packets: volume.packets, bytes: volume.bytes }
    }

    fn drops(&self) -> Drops {
        let row = |reason: &DropReason| DropCount {
            reason: reason.label().into(),
            description: reason.description().into(),
            count: self.counters.drops(*reason),
        };
        Drops { drops: DropReason::ALL.iter().map(row).collect() }
    }
}

impl Control for Desk {
    async fn answer(&self, request: Request) -> Response {
        let failed = |error: anyhow::Error| Response::failed(format!("{error:#}"));
        match request {
            Request::Flows { filter } => self
                .flows(filter)
                .await
                .map_or_else(failed, |flows| Response::Flows(Flows::from(flows))),
            Request::Kill { filter } => {
                self.kill(filter).await.map_or_else(failed, |flows| Response::Killed { flows })
            }
            Request::Stats => Response::Stats(self.stats()),
            Request::Drops => Response::Drops(self.drops()),
            Request::Status => self.status().await.map_or_else(failed, Response::Status),
            Request::Dns => Response::Dns(self.shared.resolver.report()),
            Request::Flush { name } => {
                let names = self.shared.resolver.flush(name.as_deref()) as u64;
                Response::Flushed { names }
            }
            Request::Reload => self.reload().await,
            Request::Explain { name } => {
                let config = self.shared.config();
                let explanation = control::explain(&config, &self.shared.resolver, &name).await;
                Response::Explanation(explanation)
            }
        }
    }
}

impl Source for Desk {
    fn sample(&self) -> Sample {
        let mut kinds: HashMap<(Protocol, FlowState), u64> = HashMap::new();
        let mut entries = 0;
        let applied = self.shared.applied();
        if let Ok(maps) = open_maps(&self.shared) {
            for flow in maps.flows() {
                entries += 1;
                let protocol = applied.protocol(flow.tuple.listen);
                *kinds.entry((protocol, flow.state())).or_default() += 1;
            }
        }
        let config = self.shared.config();
        Sample {
            stats: self.stats(),
            drops: self.drops(),
            flows: kinds
                .into_iter()
                .map(|((protocol, state), count)| FlowCount { protocol, state, count })
                .collect(),
            flow_table: FlowTable { entries, max_entries: u64::from(config.daemon.flows) },
            sites: self.sites(&config),
            config_last_reload_successful: self.shared.last_reload().error.is_none(),
        }
    }
}

fn absent(name: &str) -> Interface {
    Interface {
        name: name.to_owned(),
        index: None,
        mtu: None,
        attachment: control::Attachment::None,
    }
}

fn open_maps(shared: &Shared) -> Result<FlowMaps> {
    FlowMaps::open(Pins::open(&shared.config().daemon.bpffs)?.maps())
}

fn established(shared: &Shared) -> Result<Vec<Flow>> {
    let maps = open_maps(shared)?;
    let (names, applied, config) = (maps.names(), shared.applied(), shared.config());
    let now = boot_nanos();
    let since = |then: u64| Duration::from_nanos(now.saturating_sub(then)).as_secs();
    let flow = |flow: flows::Flow| {
        let site = applied.site(flow.to_backend.site).and_then(|site| config.sites.get(site));
        Flow {
            protocol: applied.protocol(flow.tuple.listen),
            client: flow.tuple.client,
            listen: flow.tuple.listen,
            host: names.get(&flow.to_backend.host).cloned(),
            site: site.map(|site| site.name.clone()),
            backend: Some(flow.backend()),
            nat46_source: flow.to_backend.source.into(),
            state: flow.state(),
            age_seconds: since(flow.to_backend.opened),
            idle_seconds: since(flow.last_seen()),
            packets_in: flow.to_backend.packets,
            packets_out: flow.to_client.map_or(0, |half| half.packets),
            bytes_in: flow.to_backend.bytes,
            bytes_out: flow.to_client.map_or(0, |half| half.bytes),
        }
    };
    Ok(maps.flows().map(flow).collect())
}

fn in_progress(shared: &Shared, handshake: &Handshake) -> Option<Flow> {
    let (config, applied) = (shared.config(), shared.applied());
    let net = config.nat46.network();
    let prefix = Nat46Prefix::new(net.network().octets(), net.prefix_len()).ok()?;
    let backend = handshake.backend.as_ref();
    let site = backend.and_then(|backend| applied.site(backend.site));
    let tuple = handshake.tuple;
    Some(Flow {
        protocol: applied.protocol(tuple.listen),
        client: tuple.client,
        listen: tuple.listen,
        host: handshake.host.clone(),
        site: site.and_then(|site| config.sites.get(site)).map(|site| site.name.clone()),
        backend: backend
            .map(|backend: &crate::handshake::Backend| -> SocketAddrV6 { backend.address }),
        nat46_source: prefix.embed(tuple.client.ip().octets()).into(),
        state: FlowState::Handshake,
        age_seconds: handshake.age.as_secs(),
        idle_seconds: 0,
        packets_in: 0,
        packets_out: 0,
        bytes_in: 0,
        bytes_out: 0,
    })
}
