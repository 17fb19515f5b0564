//! The status page.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Instant,
};

use ingress_common::verdict::Traffic as Path;

use super::{
    super::history::{Counts, STEP},
    Desk,
    listing::open_maps,
    state::{absent, capacity, sites},
};
use crate::{
    control::FlowTable,
    handshake::Outcome,
    metrics::{HostFlows, Page, Refused},
};

impl Desk {
    /// Notes what the counters say, every few seconds, until it is dropped.
    pub async fn keep_history(self: Arc<Self>) {
        let mut step = tokio::time::interval(STEP);
        loop {
            step.tick().await;
            let counts = self.counts();
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.note(Instant::now(), counts);
        }
    }

    fn counts(&self) -> Counts {
        let bytes = |path| self.counters.traffic(path).bytes;
        let stats = self.stats();
        let (mut connected, mut refused) = (0, 0);
        for outcome in &stats.handshakes {
            if outcome.name == Outcome::Spliced.as_str() {
                connected += outcome.count;
            } else {
                refused += outcome.count;
            }
        }
        [
            bytes(Path::Ipv6In),
            bytes(Path::Ipv6Out),
            bytes(Path::Nat46In),
            bytes(Path::Nat46Out),
            connected,
            refused,
            self.drops().drops.iter().map(|drop| drop.count).sum(),
        ]
    }

    /// Walks the flow table.
    pub(super) fn draw(&self) -> Page {
        let (shared, config) = (&self.shared, self.shared.config());
        let (hosts, entries) = self.by_host();
        let refused = |refusal: super::super::refusals::Refusal| Refused {
            name: refusal.name,
            outcome: refusal.outcome.as_str(),
            count: refusal.count,
            ago: refusal.ago,
        };
        let uplink = shared.applied().uplink.clone();
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let series = history.series();
        drop(history);
        Page {
            uptime: shared.started.elapsed(),
            last_reload: shared.last_reload(),
            uplink: uplink.unwrap_or_else(|| absent(config.uplink.interface.as_str())),
            sites: sites(shared, &config),
            flow_table: FlowTable { entries, max_entries: capacity(shared) },
            hosts,
            series,
            drops: self.drops(),
            refusals: shared.refusals.list().into_iter().map(refused).collect(),
        }
    }

    fn by_host(&self) -> (Vec<HostFlows>, u64) {
        let Ok(maps) = open_maps(&self.shared) else { return (Vec::new(), 0) };
        let (mut hosts, mut entries) = (HashMap::<u32, HostFlows>::new(), 0);
        for flow in maps.flows() {
            entries += 1;
            let host = hosts.entry(flow.to_backend.host).or_default();
            host.flows += 1;
            host.bytes_in += flow.to_backend.bytes;
            host.bytes_out += flow.to_client.map_or(0, |half| half.bytes);
        }
        let names = maps.names();
        let mut hosts: Vec<HostFlows> = hosts
            .into_iter()
            .map(|(number, host)| HostFlows {
                host: names.get(&number).cloned().unwrap_or_else(|| "?".to_owned()),
                ..host
            })
            .collect();
        hosts.sort_by(|a, b| b.flows.cmp(&a.flows).then_with(|| a.host.cmp(&b.host)));
        (hosts, entries)
    }
}
