//! What would happen to a client that asks for a name, step by step.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::rulings;
use crate::{
    config::{Config, host_name},
    dns::{LookupError, Resolver, select},
};

/// The steps up to the first that fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The name as it was asked for.
    pub name: String,
    /// In order.
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
    let host = match host_name(name) {
        Ok(host) => host,
        Err(problem) => {
            if let Ok(address) = name.parse::<IpAddr>() {
                rulings::client(&config.policy, address, explanation);
            }
            let outcome = match default_hosts(config) {
                hosts if hosts.is_empty() => format!(
                    "it {problem}, which counts as no name: the client gets the TLS alert unrecognized_name"
                ),
                hosts => format!(
                    "it {problem}, which counts as no name: the client is sent to the listener's default_host ({})",
                    hosts.join(", ")
                ),
            };
            explanation.push(false, "name", outcome);
            return None;
        }
    };
    if !rulings::name(&config.policy, &host, explanation) {
        return None;
    }
    explanation.push(true, "name", format!("{host} is looked up"));

    let from = if config.hosts.contains_key(&host) {
        "[hosts] of the configuration".to_owned()
    } else {
        let servers: Vec<String> =
            resolver.servers().iter().map(|server| server.to_string()).collect();
        format!("DNS ({})", servers.join(", "))
    };
    let addresses = match resolver.lookup(&host).await {
        Ok(addresses) => addresses,
        Err(LookupError::NotFound) => {
            let outcome = format!(
                "{from} knows no AAAA record: the client gets the TLS alert unrecognized_name; publish one, or add the name to [hosts]"
            );
            explanation.push(false, "address", outcome);
            return None;
        }
        Err(LookupError::Failed(reason)) => {
            let outcome =
                format!("{from} failed: {reason}; the client gets the TLS alert internal_error");
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
                "{outside}: the client gets the TLS alert unrecognized_name; correct the AAAA record, or add its prefix to a site"
            );
            explanation.push(false, "site", outcome);
            None
        }
    }
}

fn default_hosts(config: &Config) -> Vec<&str> {
    config.listen.iter().filter_map(|listen| listen.default_host.as_deref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_end_is_explained() {
        let text = r#"
            [uplink]
            interface = "eth0"
            [[site]]
            name = "home"
            interface = "wg0"
            prefixes = ["2001:db8::/64"]
            [[listen]]
            ports = [443]
            [hosts]
            "nas.example.org" = "2001:db8::9"
            "a.secret.example.org" = "2001:db8::9"
            [policy]
            ipv6 = "closed"
            deny_clients = ["192.0.2.0/24"]
            deny_names = ["*.secret.example.org"]
            [[allow]]
            to = ["2001:db8::/112"]
            from = ["2001:db8:c::/48"]
        "#;
        let mut config = Config::parse(text, "test").unwrap();
        config.hosts.insert("far.example.org".to_owned(), vec!["2001:db9::9".parse().unwrap()]);
        let resolver = Resolver::new(&config.dns, &config.hosts);
        for (name, ok, last) in [
            (
                "NAS.example.org",
                true,
                "closed; to TCP port 443 of 2001:db8::9: the [[allow]] number 1 lets in 2001:db8:c::/48",
            ),
            (
                "A.Secret.example.org",
                false,
                "deny_names has *.secret.example.org: the client gets the TLS alert unrecognized_name",
            ),
            ("far.example.org", false, "2001:db9::9 outside every site's prefixes: the client"),
            ("localhost", false, "it has no dot, which counts as no name: the client gets"),
        ] {
            let (explanation, backends) = explain(&config, &resolver, name).await;
            assert_eq!(backends.len(), usize::from(ok));
            assert_eq!(explanation.ok(), ok, "{explanation:?}");
            let outcome = &explanation.steps.last().unwrap().outcome;
            assert!(outcome.starts_with(last), "{outcome}");
        }
        let (explanation, _) = explain(&config, &resolver, "192.0.2.7").await;
        assert_eq!(
            explanation.steps[0].outcome,
            "deny_clients has 192.0.2.0/24: what it begins is dropped, as `client_denied`"
        );
    }
}
