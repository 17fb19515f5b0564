//! What went on between two moments, as a pure function of both.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::control::{
    Count, Direction, Drops, Flow, FlowState, FlowTable, Path, SiteStatus, Stats, Status,
};

/// What the daemon said at one time.
pub(super) struct Moment {
    pub at: Instant,
    pub status: Status,
    pub stats: Stats,
    pub drops: Drops,
    pub flows: Vec<Flow>,
}

/// One interval. Rates are per second, "in" is towards the sites.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// Of this format; it changes only if a field goes or means something else.
    pub version: u32,
    pub interval_seconds: f64,
    pub ingressd_version: String,
    pub uptime_seconds: u64,
    pub flow_table: FlowTable,
    pub handshakes_in_progress: u64,
    pub traffic: Vec<Traffic>,
    pub sites: Vec<Site>,
    /// The busiest first.
    pub hosts: Vec<Host>,
    /// The busiest first.
    pub flows: Vec<Busy>,
    /// Every outcome that was ever seen.
    pub handshakes: Vec<Counted>,
    /// Every reason that was ever seen.
    pub drops: Vec<Counted>,
}

/// One way on one path.
#[derive(Debug, Serialize)]
pub(super) struct Traffic {
    pub path: Path,
    pub direction: Direction,
    pub packets_per_second: f64,
    pub bytes_per_second: f64,
}

/// Octets a second both ways.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Rate {
    pub bytes_in_per_second: f64,
    pub bytes_out_per_second: f64,
}

/// The IPv4 connections of a site; IPv6 is not counted by site.
#[derive(Debug, Serialize)]
pub(super) struct Site {
    #[serde(flatten)]
    pub status: SiteStatus,
    pub flows: u64,
    #[serde(flatten)]
    pub rate: Rate,
}

/// The connections to a name.
#[derive(Debug, Serialize)]
pub(super) struct Host {
    pub host: Option<String>,
    pub flows: u64,
    #[serde(flatten)]
    pub rate: Rate,
}

/// A connection.
#[derive(Debug, Serialize)]
pub(super) struct Busy {
    #[serde(flatten)]
    pub flow: Flow,
    #[serde(flatten)]
    pub rate: Rate,
}

/// A count with its growth.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    pub name: String,
    pub count: u64,
    pub per_second: f64,
}

impl Rate {
    pub fn both(self) -> f64 {
        self.bytes_in_per_second + self.bytes_out_per_second
    }

    fn add(&mut self, other: Self) {
        self.bytes_in_per_second += other.bytes_in_per_second;
        self.bytes_out_per_second += other.bytes_out_per_second;
    }
}

impl View {
    /// At most so many hosts and so many flows are kept.
    pub fn between(before: &Moment, now: &Moment, rows: usize) -> Self {
        let interval = now.at.saturating_duration_since(before.at);
        let mut flows = busy(before, now, interval);
        let hosts = hosts(&flows, rows);
        let sites = sites(&now.status.sites, &flows);
        flows.sort_by_key(|busy| (Reverse(busy.rate.both() as u64), busy.flow.client));
        flows.truncate(rows);
        Self {
            version: 1,
            interval_seconds: interval.as_secs_f64(),
            ingressd_version: now.status.version.to_string(),
            uptime_seconds: now.status.uptime_seconds,
            flow_table: now.status.flow_table,
            handshakes_in_progress: now.status.handshakes_in_progress,
            traffic: traffic(&before.stats, &now.stats, interval),
            sites,
            hosts,
            flows,
            handshakes: counted(
                pairs(&before.stats.handshakes),
                pairs(&now.stats.handshakes),
                interval,
            ),
            drops: counted(reasons(&before.drops), reasons(&now.drops), interval),
        }
    }

    /// On all paths, both ways.
    pub fn bytes_per_second(&self) -> u64 {
        self.traffic.iter().map(|traffic| traffic.bytes_per_second as u64).sum()
    }
}

/// Counters that a restart has set back count as standing still.
fn rate(before: u64, now: u64, interval: Duration) -> f64 {
    if interval.is_zero() {
        return 0.0;
    }
    now.saturating_sub(before) as f64 / interval.as_secs_f64()
}

fn busy(before: &Moment, now: &Moment, interval: Duration) -> Vec<Busy> {
    type Key = (SocketAddrV4, SocketAddrV4);
    let known: HashMap<Key, &Flow> =
        before.flows.iter().map(|flow| ((flow.client, flow.listen), flow)).collect();
    let flow = |flow: &Flow| {
        // A younger flow of the same addresses is another one.
        let old = known
            .get(&(flow.client, flow.listen))
            .filter(|old| old.bytes_in <= flow.bytes_in && old.bytes_out <= flow.bytes_out);
        // One that the first look finds has not moved all its octets just now.
        let new = flow.age_seconds <= interval.as_secs() + 1;
        let then = match old {
            Some(old) => (old.bytes_in, old.bytes_out),
            None if new => (0, 0),
            None => (flow.bytes_in, flow.bytes_out),
        };
        Busy {
            rate: Rate {
                bytes_in_per_second: rate(then.0, flow.bytes_in, interval),
                bytes_out_per_second: rate(then.1, flow.bytes_out, interval),
            },
            flow: flow.clone(),
        }
    };
    now.flows.iter().map(flow).collect()
}

fn hosts(flows: &[Busy], rows: usize) -> Vec<Host> {
    let mut hosts: BTreeMap<Option<&str>, (u64, Rate)> = BTreeMap::new();
    for busy in flows {
        let host = hosts.entry(busy.flow.host.as_deref()).or_default();
        host.0 += 1;
        host.1.add(busy.rate);
    }
    let host = |(host, (flows, rate)): (Option<&str>, (u64, Rate))| Host {
        host: host.map(str::to_owned),
        flows,
        rate,
    };
    let mut hosts: Vec<Host> = hosts.into_iter().map(host).collect();
    hosts.sort_by_key(|host| (Reverse(host.rate.both() as u64), Reverse(host.flows)));
    hosts.truncate(rows);
    hosts
}

fn sites(sites: &[SiteStatus], flows: &[Busy]) -> Vec<Site> {
    let site = |status: &SiteStatus| {
        let mut site = Site { status: status.clone(), flows: 0, rate: Rate::default() };
        for busy in flows.iter().filter(|busy| busy.flow.site.as_ref() == Some(&status.name)) {
            site.flows += u64::from(busy.flow.state != FlowState::Handshake);
            site.rate.add(busy.rate);
        }
        site
    };
    sites.iter().map(site).collect()
}

fn traffic(before: &Stats, now: &Stats, interval: Duration) -> Vec<Traffic> {
    let then = |path, direction| {
        before.traffic.iter().find(|row| row.path == path && row.direction == direction)
    };
    let row = |row: &crate::control::Traffic| {
        let then = then(row.path, row.direction).unwrap_or(row);
        Traffic {
            path: row.path,
            direction: row.direction,
            packets_per_second: rate(then.packets, row.packets, interval),
            bytes_per_second: rate(then.bytes, row.bytes, interval),
        }
    };
    now.traffic.iter().map(row).collect()
}

fn pairs(counts: &[Count]) -> Vec<(&str, u64)> {
    counts.iter().map(|count| (&*count.name, count.count)).collect()
}

fn reasons(drops: &Drops) -> Vec<(&str, u64)> {
    drops.drops.iter().map(|drop| (&*drop.reason, drop.count)).collect()
}

fn counted(before: Vec<(&str, u64)>, now: Vec<(&str, u64)>, interval: Duration) -> Vec<Counted> {
    let before: HashMap<&str, u64> = before.into_iter().collect();
    let mut counted: Vec<Counted> = now
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| Counted {
            name: name.to_owned(),
            count,
            per_second: rate(before.get(name).copied().unwrap_or(count), count, interval),
        })
        .collect();
    counted.sort_by_key(|row| (Reverse((row.per_second * 1000.0) as u64), Reverse(row.count)));
    counted
}

#[cfg(test)]
pub(super) mod tests;
