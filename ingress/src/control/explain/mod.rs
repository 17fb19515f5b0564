//! What would happen to a client that asks for a name, step by step.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use super::rulings;
use crate::{
    config::Config,
    dns::{LookupError, Resolver, select},
    handshake::Outcome,
    host_name::{HostName, NameError},
};

/// The steps up to the first that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The name as it was asked for.
    pub name: String,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whether it goes on from here.
    pub ok: bool,
    /// Which step.
    pub what: String,
    /// What comes out of it, and what to do where it fails.
    pub outcome: String,
}

impl Explanation {
    /// Whether the client would be connected.
    pub fn ok(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    /// Adds a step.
    pub fn push(&mut self, ok: bool, what: impl Into<String>, outcome: impl Into<String>) {
        self.steps.push(Step { ok, what: what.into(), outcome: outcome.into() });
    }
}

/// Follows a name through the configuration and DNS as the daemon would for a client, to the addresses that
/// it would connect, each with the index of its site.
pub async fn explain(
    config: &Config,
    resolver: &Resolver,
    name: &str,
) -> (Explanation, Vec<(Ipv6Addr, usize)>) {
    let mut explanation = Explanation { name: name.to_owned(), steps: Vec::new() };
    let backends = follow(config, resolver, name, &mut explanation).await;
    (explanation, backends.unwrap_or_default())
}

async fn follow(
    config: &Config,
    resolver: &Resolver,
    name: &str,
    explanation: &mut Explanation,
) -> Option<Vec<(Ipv6Addr, usize)>> {
    match HostName::from_wire(name.as_bytes()) {
        Ok(host) => follow_host(config, resolver, &host, explanation).await,
        Err(NameError::IpLiteral) => follow_address(config, resolver, name, explanation).await,
        Err(
            error @ (NameError::Empty
            | NameError::TooLong
            | NameError::EmptyLabel
            | NameError::LongLabel
            | NameError::Character
            | NameError::Unqualified),
        ) => {
            let outcome =
                format!("{}, whatever default_host says: {error}", refusal(Outcome::InvalidName));
            explanation.push(false, "name", outcome);
            None
        }
    }
}

/// For the daemon a client that names an address has named nobody. Whoever explains one may mean a client's, too.
async fn follow_address(
    config: &Config,
    resolver: &Resolver,
    name: &str,
    explanation: &mut Explanation,
) -> Option<Vec<(Ipv6Addr, usize)>> {
    let what = match name.parse::<IpAddr>() {
        Ok(address) if !rulings::client(&config.policy, address, explanation) => return None,
        Ok(_) => "it is an address",
        // A port or a scheme, which the parser takes for a part of an address.
        Err(_) if name.contains(':') && !name.starts_with('[') => "it is more than a name",
        Err(_) => "it is an address",
    };
    let (hosts, ways) = defaults(config);
    let outcome = format!("{what}, which counts as no name: {ways}");
    explanation.push(!hosts.is_empty(), "name", outcome);
    let mut backends = Vec::new();
    for host in hosts {
        for backend in follow_host(config, resolver, host, explanation).await? {
            if !backends.contains(&backend) {
                backends.push(backend);
            }
        }
    }
    Some(backends)
}

async fn follow_host(
    config: &Config,
    resolver: &Resolver,
    host: &HostName,
    explanation: &mut Explanation,
) -> Option<Vec<(Ipv6Addr, usize)>> {
    if !rulings::name(&config.policy, host, explanation) {
        return None;
    }
    explanation.push(true, "name", format!("{host} is looked up"));

    let from = if config.hosts.contains_key(host) {
        "[hosts] of the configuration".to_owned()
    } else {
        let servers: Vec<String> =
            resolver.servers().iter().map(|server| server.to_string()).collect();
        format!("DNS ({})", servers.join(", "))
    };
    let addresses = match resolver.lookup(host).await {
        Ok(addresses) => addresses,
        Err(LookupError::NotFound) => {
            let outcome = format!(
                "{from} knows no AAAA record: the client gets {}; publish one, or add the name to [hosts]",
                Outcome::UnknownName.client_gets()
            );
            explanation.push(false, "address", outcome);
            return None;
        }
        Err(LookupError::Failed(reason)) => {
            let gets = Outcome::DnsFailed.client_gets();
            let outcome = format!("{from} failed: {reason}; the client gets {gets}");
            explanation.push(false, "address", outcome);
            return None;
        }
    };
    let list: Vec<String> = addresses.iter().map(|address| address.to_string()).collect();
    explanation.push(true, "address", format!("{} says {}", from, list.join(", ")));

    match select(&addresses, &config.sites) {
        Ok(chosen) => {
            for (address, site) in &chosen {
                let site = &config.sites[*site];
                explanation.push(
                    true,
                    "site",
                    format!("{address} lies at {:?} behind {}", site.name, site.interface),
                );
                rulings::server(config, *address, explanation);
            }
            Some(chosen)
        }
        Err(outside) => {
            let outcome = format!(
                "{outside}: the client gets {}; correct the AAAA record, or add its prefix to a site",
                Outcome::OutsidePrefixes.client_gets()
            );
            explanation.push(false, "site", outcome);
            None
        }
    }
}

/// Whom clients that name nobody are led to, and which port leads where.
fn defaults(config: &Config) -> (Vec<&HostName>, String) {
    let mut hosts: BTreeMap<Option<&HostName>, Vec<String>> = BTreeMap::new();
    for listen in &config.listen {
        let ports = hosts.entry(listen.default_host.as_ref()).or_default();
        ports.extend(listen.ports.iter().map(ToString::to_string));
    }
    let refused = refusal(Outcome::NoName);
    let mut ways = Vec::new();
    for (host, ports) in &hosts {
        let ports = ports.join(", ");
        ways.push(match host {
            Some(host) => format!("on port {ports} the client is sent to the default_host {host}"),
            None => format!("on port {ports} there is no default_host, and {refused}"),
        });
    }
    (hosts.into_keys().flatten().collect(), ways.join("; "))
}

fn refusal(outcome: Outcome) -> String {
    format!("the client gets {} (`{}`)", outcome.client_gets(), outcome.as_str())
}

#[cfg(test)]
mod tests;
