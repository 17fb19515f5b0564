//! Names to backend addresses: AAAA records of absolute names, from `[hosts]`, the cache, or a DNS server.
//!
//! Clients decide which names are asked for, so everything here is bounded: look-ups of one name share one
//! query, there are only so many queries at a time and for each neighbourhood, and the cache has a size.

mod cache;
mod metrics;
mod select;
mod slots;
#[cfg(test)]
mod tests;
mod upstream;

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout_at};

pub use metrics::{LookupResult, Metrics};
pub use select::{OutsidePrefixes, select};

use crate::{clock::since_boot, config, control, fairness::Neighbourhood, host_name::HostName};
use cache::Cache;
use slots::{MOST_QUERIES, Slots};
use upstream::{Upstream, query};

/// What is known of a name; never empty when it is `Ok`.
pub type Answer = Result<Vec<Ipv6Addr>, LookupError>;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// It does not exist, or has no AAAA record.
    #[error("no AAAA record")]
    NotFound,
    /// Nobody knows; asking again later may help.
    #[error("{0}")]
    Failed(String),
}

/// The resolver; clones share everything.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    metrics: Metrics,
}

struct State {
    hosts: BTreeMap<HostName, Vec<Ipv6Addr>>,
    upstream: Upstream,
    timeout: Duration,
    cache: Cache,
    /// The queries under way.
    queries: HashMap<HostName, Query>,
    /// Whose they are, those of servers that are asked no more among them.
    slots: Slots,
    /// Queries so far. A query is known by its number, so that an answer to one that was given up is not cached.
    asked: u64,
}

/// A query under way.
#[derive(Clone)]
struct Query {
    /// Where its answer will appear.
    answer: watch::Receiver<Option<Answer>>,
    begun: tokio::time::Instant,
    number: u64,
}

impl Resolver {
    /// A resolver for this configuration. Servers are contacted only once a name is asked for.
    pub fn new(dns: &config::Dns, hosts: &BTreeMap<HostName, Vec<Ipv6Addr>>) -> Self {
        let state = State {
            hosts: hosts.clone(),
            upstream: Upstream::new(dns.servers.clone()),
            timeout: dns.timeout,
            cache: Cache::default(),
            queries: HashMap::new(),
            slots: Slots::default(),
            asked: 0,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), metrics: Metrics::default() }) }
    }

    /// Looks up a name. Answers within the configured timeout; a query
    /// that takes longer goes on, so that the next look-up finds its answer. While the servers are away, an old answer
    /// is given at once (RFC 8767).
    ///
    /// Must be called within a tokio runtime.
    pub async fn lookup(&self, name: &HostName) -> Answer {
        self.lookup_by(None, name).await
    }

    /// [`Self::lookup`] for a client, whose neighbourhood has only a share of the queries.
    pub async fn lookup_for(&self, client: Ipv4Addr, name: &HostName) -> Answer {
        self.lookup_by(Some(Neighbourhood::of(client)), name).await
    }

    async fn lookup_by(&self, who: Option<Neighbourhood>, name: &HostName) -> Answer {
        let (result, answer) = self.resolve(who, name).await;
        self.shared.metrics.count(result);
        answer
    }

    async fn resolve(&self, who: Option<Neighbourhood>, name: &HostName) -> (LookupResult, Answer) {
        let (answer, until) = match self.start(who, name) {
            Start::Known(result, answer) => return (result, answer),
            Start::Query(answer, until) => (answer, until),
        };
        let (result, error) = match timeout_at(until, answered(answer)).await {
            Ok(Ok(addresses)) => return (LookupResult::Ok, Ok(addresses)),
            Ok(Err(LookupError::NotFound)) => {
                return (LookupResult::NotFound, Err(LookupError::NotFound));
            }
            Ok(Err(error @ LookupError::Failed(_))) => (LookupResult::Failed, error),
            Err(_) => {
                let timeout = self.shared.state().timeout;
                let reason = format!("no answer within {} s", timeout.as_secs_f32());
                (LookupResult::Timeout, LookupError::Failed(reason))
            }
        };
        // An old answer is better than none while the servers are away (RFC 8767).
        match self.shared.state().cache.stale(name, since_boot()) {
            Some(addresses) => (LookupResult::Stale, Ok(addresses)),
            None => (result, Err(error)),
        }
    }

    /// The answer to a look-up that need not ask anybody, and counts as one: a name of `[hosts]`, or a cached one.
    pub fn known(&self, name: &HostName) -> Option<Answer> {
        let (result, answer) = self.shared.state().known(name)?;
        self.shared.metrics.count(result);
        Some(answer)
    }

    fn start(&self, who: Option<Neighbourhood>, name: &HostName) -> Start {
        let mut state = self.shared.state();
        if let Some((result, answer)) = state.known(name) {
            return Start::Known(result, answer);
        }
        let stale = state.cache.stale(name, since_boot());
        // Without a sender the task has died, and the name would be lost for good.
        let under_way = state.queries.get(name).filter(|query| query.answer.has_changed().is_ok());
        let query = match under_way.cloned() {
            Some(query) => query,
            None if state.slots.take(who) => self.ask(&mut state, who, name),
            // A flood of names nobody knows is no reason to forget one that was known.
            None => {
                let reason = "too many other names are being looked up".to_owned();
                return match stale {
                    Some(addresses) => Start::Known(LookupResult::Stale, Ok(addresses)),
                    None => Start::Known(LookupResult::Busy, Err(LookupError::Failed(reason))),
                };
            }
        };
        let now = tokio::time::Instant::now();
        match stale {
            None => Start::Query(query.answer, now + state.timeout),
            // All who have an old answer to fall back on wait for one query no longer than its first client does, and
            // not at all for one that follows a failure: the servers may be away for long.
            Some(addresses)
                if state.cache.has_failed(name) || now >= query.begun + state.timeout =>
            {
                Start::Known(LookupResult::Stale, Ok(addresses))
            }
            Some(_) => Start::Query(query.answer, query.begun + state.timeout),
        }
    }

    /// Sends a query, which goes on whoever waits for it.
    fn ask(&self, state: &mut State, who: Option<Neighbourhood>, name: &HostName) -> Query {
        let (sender, answer) = watch::channel(None);
        state.asked += 1;
        let number = state.asked;
        let under_way = Query { answer, begun: tokio::time::Instant::now(), number };
        state.queries.insert(name.clone(), under_way.clone());
        let resolver = state.upstream.current();
        let shared = self.shared.clone();
        let name = name.clone();
        tokio::spawn(async move {
            let started = Instant::now();
            let (answer, ttl) = query(resolver, &name).await;
            shared.metrics.observe(started.elapsed());
            let mut state = shared.state();
            state.slots.give_back(who);
            if state.queries.get(&name).is_some_and(|query| query.number == number) {
                state.queries.remove(&name);
                state.cache.insert(name, answer.clone(), since_boot(), ttl);
            }
            drop(state);
            sender.send_replace(Some(answer));
        });
        under_way
    }

    /// Takes over a new configuration. Other servers know other things, so then the cache is emptied.
    pub fn update(&self, dns: &config::Dns, hosts: &BTreeMap<HostName, Vec<Ipv6Addr>>) {
        let mut state = self.shared.state();
        state.hosts = hosts.clone();
        state.timeout = dns.timeout;
        if state.upstream.servers() != dns.servers {
            state.upstream = Upstream::new(dns.servers.clone());
            state.cache.clear();
            state.queries.clear();
        }
    }

    /// Forgets what is cached, of one name or of all, and says how many names that were. Queries under way go on for those
    /// who wait for them, but their answers are not cached.
    pub fn flush(&self, name: Option<&HostName>) -> usize {
        let mut state = self.shared.state();
        match name {
            Some(name) => {
                state.queries.remove(name);
                usize::from(state.cache.remove(name))
            }
            None => {
                state.queries.clear();
                state.cache.clear()
            }
        }
    }

    /// What is known without asking, for `ingressctl dns`.
    pub fn report(&self) -> control::Dns {
        let state = self.shared.state();
        let hosts = state.hosts.iter().map(|(name, addresses)| control::DnsName {
            name: name.to_string(),
            source: control::DnsSource::Hosts,
            addresses: addresses.clone(),
            error: None,
            ttl_seconds: None,
        });
        let cached = state.cache.list(since_boot()).into_iter().map(|cached| control::DnsName {
            name: cached.name.to_string(),
            source: control::DnsSource::Cache,
            error: cached.answer.as_ref().err().map(LookupError::to_string),
            addresses: cached.answer.unwrap_or_default(),
            ttl_seconds: Some(cached.ttl.as_secs()),
        });
        control::Dns { servers: state.upstream.in_use(), names: hosts.chain(cached).collect() }
    }

    /// The servers in use: the configured ones, or those of `/etc/resolv.conf`.
    pub fn servers(&self) -> Vec<std::net::SocketAddr> {
        self.shared.state().upstream.in_use()
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

enum Start {
    Known(LookupResult, Answer),
    /// An answer that is waited for until then.
    Query(watch::Receiver<Option<Answer>>, tokio::time::Instant),
}

impl State {
    fn known(&self, name: &HostName) -> Option<(LookupResult, Answer)> {
        if let Some(addresses) = self.hosts.get(name) {
            return Some((LookupResult::Hosts, Ok(addresses.clone())));
        }
        Some(match self.cache.fresh(name, since_boot())? {
            Ok(addresses) => (LookupResult::Cached, Ok(addresses)),
            Err(LookupError::NotFound) => (LookupResult::NotFound, Err(LookupError::NotFound)),
            Err(error @ LookupError::Failed(_)) => match self.cache.stale(name, since_boot()) {
                Some(addresses) => (LookupResult::Stale, Ok(addresses)),
                None => (LookupResult::Failed, Err(error)),
            },
        })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answered(mut query: watch::Receiver<Option<Answer>>) -> Answer {
    match query.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone().unwrap_or(Err(LookupError::NotFound)),
        Err(_) => Err(LookupError::Failed("the look-up was given up".to_owned())),
    }
}
