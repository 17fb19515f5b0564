//! Prometheus metrics, read from the maps at scrape, and a status page beside them.
//!
//! What the kernel counts comes from a [`Source`] at each scrape; what the daemon counts is registered once.
//! No client address and no name that a client chose is ever a label.

mod collector;
mod page;
mod server;
#[cfg(test)]
mod tests;
mod text;

use std::{sync::Arc, time::Duration};

use prometheus_client::{metrics::histogram::Histogram, registry::Registry};

pub use page::{HostFlows, Page, Refused, Series, Unit};
pub use server::Server;

use crate::{
    config::Protocol,
    control::{Drops, FlowState, FlowTable, SiteStatus, Stats},
    dns,
};
use collector::Kernel;

/// Where a scrape finds its numbers.
pub trait Source: Send + Sync + 'static {
    /// The numbers of this moment. The caller's thread may block for as long as reading maps takes.
    fn sample(&self) -> Sample;

    /// What a browser is shown. It may block, too.
    fn page(&self) -> Page;
}

/// The numbers of one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Traffic and counters; `dns_lookups` is not read, since the resolver registers its own.
    pub stats: Stats,
    /// Every reason.
    pub drops: Drops,
    /// Flows by what they are; what is not mentioned counts as 0.
    pub flows: Vec<FlowCount>,
    /// How full the table is.
    pub flow_table: FlowTable,
    /// The homes.
    pub sites: Vec<SiteStatus>,
    /// Whether the last configuration was taken.
    pub config_last_reload_successful: bool,
}

/// How many flows of a kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowCount {
    /// What their clients speak.
    pub protocol: Protocol,
    /// How far they are.
    pub state: FlowState,
    /// How many.
    pub count: u64,
}

/// How long handshakes take, from the ClientHello to the backend's SYN-ACK; clones share the numbers.
#[derive(Clone, Debug)]
pub struct HandshakeSeconds(Histogram);

const BUCKETS: [f64; 11] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

impl HandshakeSeconds {
    /// Counts one.
    pub fn observe(&self, taken: Duration) {
        self.0.observe(taken.as_secs_f64());
    }
}

impl Default for HandshakeSeconds {
    fn default() -> Self {
        Self(Histogram::new(BUCKETS))
    }
}

/// Everything that is exported.
pub fn registry(
    source: Arc<impl Source>,
    dns: &dns::Metrics,
    handshakes: &HandshakeSeconds,
) -> Registry {
    let mut registry = Registry::with_prefix("ingress");
    dns.register(&mut registry);
    registry.register(
        "handshake_seconds",
        "Time from the ClientHello to the backend's SYN-ACK",
        handshakes.0.clone(),
    );
    registry.register_collector(Box::new(Kernel(source)));
    registry
}
