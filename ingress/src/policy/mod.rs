//! The policy as the programs look it up: by longest match, where the longest must say everything that the
//! shorter ones would.
//!
//! So each entry stands for all rules that cover it: an address's, for those that name it or a prefix around it;
//! a port's, for those that name it, a range around it, its protocol, or none.

mod ports;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use ingress_common::policy::{
    EVERYBODY, LISTED_CLIENTS, MAX_SERVICES, MAX_SOURCES, MAX_TARGETS, mapped,
};
use ipnet::{IpNet, Ipv6Net};

use crate::config::{Allow, Ipv6Policy, Policy};
pub use ports::Ports;

/// Entries of one rule set that the maps have room for, beside those of the set before.
const MOST_TARGETS: usize = MAX_TARGETS as usize / 2;
const MOST_SERVICES: usize = MAX_SERVICES as usize / 2;
const MOST_SOURCES: usize = MAX_SOURCES as usize / 2;

/// What the tries hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Whether IPv6 needs a rule.
    pub closed: bool,
    /// Whether there are lists of clients.
    pub clients: bool,
    /// Whether a client has to be in one.
    pub only_listed: bool,
    /// `TARGETS`: the services at an address.
    pub targets: BTreeMap<Ipv6Net, u32>,
    /// `SERVICES`: who may use one, by the number of the services.
    pub services: BTreeMap<(u32, Ports), u32>,
    /// `SOURCES`: who is in a group, and whether that means that he may.
    pub sources: BTreeMap<(u32, Ipv6Net), bool>,
}

/// A policy with more entries than the maps have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// What there is too much of.
    pub what: Entries,
    entries: usize,
    room: usize,
}

/// What a rule set consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Addresses with services.
    Targets,
    /// Services with those that may use them.
    Services,
    /// Who is in which group.
    Sources,
}

/// Compiles it.
///
/// # Errors
/// Where the maps have no room for the outcome.
pub fn compile(policy: &Policy) -> Result<RuleSet, TooLarge> {
    let mut set = RuleSet {
        clients: !policy.deny_clients.is_empty() || !policy.allow_clients.is_empty(),
        only_listed: !policy.allow_clients.is_empty(),
        ..RuleSet::default()
    };
    clients(policy, &mut set);
    match policy.ipv6 {
        Ipv6Policy::Open => {}
        Ipv6Policy::Closed => {
            set.closed = true;
            targets(&policy.allow, &mut set);
        }
    }
    for (what, entries, room) in [
        (Entries::Targets, set.targets.len(), MOST_TARGETS),
        (Entries::Services, set.services.len(), MOST_SERVICES),
        (Entries::Sources, set.sources.len(), MOST_SOURCES),
    ] {
        if entries > room {
            return Err(TooLarge { what, entries, room });
        }
    }
    Ok(set)
}

/// Of two lists one trie: denied is who is in a denied prefix, however small the allowed one.
fn clients(policy: &Policy, set: &mut RuleSet) {
    let nets = |list: &[IpNet]| list.iter().map(|net| (v6(net), ())).collect::<HashMap<_, _>>();
    let (denied, allowed) = (nets(&policy.deny_clients), nets(&policy.allow_clients));
    for net in denied.keys().chain(allowed.keys()) {
        let may = covering(&denied, net).next().is_none();
        set.sources.insert((LISTED_CLIENTS, *net), may);
    }
}

fn targets(rules: &[Allow], set: &mut RuleSet) {
    let mut by_target: HashMap<Ipv6Net, BTreeSet<usize>> = HashMap::new();
    for (nth, rule) in rules.iter().enumerate() {
        for net in &rule.to {
            by_target.entry(*net).or_default().insert(nth);
        }
    }
    let mut groups = Groups::default();
    let mut numbers: BTreeMap<BTreeSet<usize>, u32> = BTreeMap::new();
    let mut targets: Vec<&Ipv6Net> = by_target.keys().collect();
    targets.sort();
    for net in targets {
        let here: BTreeSet<usize> = covering(&by_target, net).flatten().copied().collect();
        let next = number(numbers.len());
        let services = *numbers.entry(here).or_insert(next);
        set.targets.insert(*net, services);
    }
    for (here, number) in &numbers {
        let rules: Vec<&Allow> = here.iter().map(|nth| &rules[*nth]).collect();
        services(&rules, *number, &mut groups, set);
    }
    for (sources, group) in groups.0 {
        set.sources.extend(sources.into_iter().map(|net| ((group, net), true)));
    }
}

/// What may be used at an address that these rules cover, and by whom.
fn services(rules: &[&Allow], number: u32, groups: &mut Groups, set: &mut RuleSet) {
    let mut by_ports: BTreeMap<Ports, Vec<&Allow>> = BTreeMap::new();
    for rule in rules {
        for service in &rule.services {
            for ports in Ports::of(service) {
                by_ports.entry(ports).or_default().push(rule);
            }
        }
    }
    for ports in by_ports.keys() {
        let covering = ports.around().filter_map(|around| by_ports.get(&around)).flatten();
        let sources: Vec<&[Ipv6Net]> = covering.map(|rule| rule.from.as_slice()).collect();
        let group = if sources.iter().any(|from| from.is_empty()) {
            EVERYBODY
        } else {
            groups.number(sources.concat().into_iter().collect())
        };
        set.services.insert((number, *ports), group);
    }
}

/// Groups of sources; the same ones have the same number.
#[derive(Default)]
struct Groups(BTreeMap<BTreeSet<Ipv6Net>, u32>);

impl Groups {
    fn number(&mut self, sources: BTreeSet<Ipv6Net>) -> u32 {
        let next = number(self.0.len()) + EVERYBODY + 1;
        *self.0.entry(sources).or_insert(next)
    }
}

fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// What a map has for a prefix and for all around it.
fn covering<'a, T>(
    map: &'a HashMap<Ipv6Net, T>,
    net: &Ipv6Net,
) -> impl Iterator<Item = &'a T> + use<'a, T> {
    let address = net.addr();
    (0..=net.prefix_len())
        .filter_map(move |len| Ipv6Net::new(address, len).ok())
        .filter_map(move |around| map.get(&around.trunc()))
}

fn v6(net: &IpNet) -> Ipv6Net {
    match net {
        IpNet::V6(net) => *net,
        IpNet::V4(net) => {
            Ipv6Net::new_assert(mapped(net.addr().octets()).into(), 96 + net.prefix_len())
        }
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Targets => "addresses in [[allow]]",
            Self::Services => "services in [[allow]]",
            Self::Sources => "clients",
        })
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, entries, room } = self;
        write!(f, "the policy makes {entries} entries for {what}, and there is room for {room}")
    }
}

impl std::error::Error for TooLarge {}
