//! How look-ups end and how long queries take.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// How the look-up of one client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookupResult {
    /// A server answered.
    Ok,
    /// From `[hosts]`.
    Hosts,
    /// From the cache.
    Cached,
    /// From the cache, out of date, because no server answers.
    Stale,
    /// There is no such name, or no AAAA record.
    NotFound,
    /// A server answered with an error, or cannot be reached.
    Failed,
    /// No server answered in time.
    Timeout,
    /// Too many queries are under way.
    Busy,
}

/// The resolver's counters; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    lookups: Family<Labels, Counter>,
    seconds: Histogram,
}

type Labels = [(&'static str, &'static str); 1];

const BUCKETS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0];

impl LookupResult {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Hosts,
        Self::Cached,
        Self::Stale,
        Self::NotFound,
        Self::Failed,
        Self::Timeout,
        Self::Busy,
    ];

    /// The value of the label `result`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Hosts => "hosts",
            Self::Cached => "cached",
            Self::Stale => "stale",
            Self::NotFound => "not_found",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Busy => "busy",
        }
    }

    const fn labels(self) -> Labels {
        [("result", self.as_str())]
    }
}

impl Metrics {
    /// Names the counters in a registry, without its prefix.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "dns_lookups",
            "Names that clients asked for, by how the look-up ended",
            self.lookups.clone(),
        );
        registry.register(
            "dns_lookup_seconds",
            "How long queries to DNS servers took",
            self.seconds.clone(),
        );
    }

    /// How many look-ups ended so.
    pub fn lookups(&self, result: LookupResult) -> u64 {
        self.lookups.get_or_create(&result.labels()).get()
    }

    pub(super) fn count(&self, result: LookupResult) {
        self.lookups.get_or_create(&result.labels()).inc();
    }

    pub(super) fn observe(&self, taken: Duration) {
        self.seconds.observe(taken.as_secs_f64());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let lookups = Family::<Labels, Counter>::default();
        for result in LookupResult::ALL {
            drop(lookups.get_or_create(&result.labels()));
        }
        Self { lookups, seconds: Histogram::new(BUCKETS) }
    }
}
