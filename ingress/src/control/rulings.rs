//! What the policy says of a name, a client or a server, in words.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use ingress_common::ip::TCP;

use super::Explanation;
use crate::{
    config::{Allow, Config, Ipv6Policy, Policy, Ruling},
    handshake::Outcome,
    host_name::HostName,
};

/// What the lists say of a name; whether it goes on from here.
pub(super) fn name(policy: &Policy, host: &HostName, explanation: &mut Explanation) -> bool {
    let ruling = policy.rule_on(host);
    if let Some(entry) = decided(&ruling, "names") {
        let gets = Outcome::DeniedName.client_gets();
        let goes_on = ruling.lets_through();
        explanation.push(
            goes_on,
            "policy",
            if goes_on { entry } else { format!("{entry}: the client gets {gets}") },
        );
    }
    ruling.lets_through()
}

/// What they say of a client, for whoever asks about an address; whether it goes on from here.
pub(super) fn client(policy: &Policy, address: IpAddr, explanation: &mut Explanation) -> bool {
    let ruling = policy.rule_on_client(address);
    if matches!(ruling, Ruling::Unlisted) && policy.lists_clients() {
        explanation.push(true, "client", format!("no list has {address}, which may connect"));
    } else if let Some(entry) = decided(&ruling, "clients") {
        let end = "what it begins is dropped, as `client_denied`";
        let goes_on = ruling.lets_through();
        explanation.push(
            goes_on,
            "client",
            if goes_on { entry } else { format!("{entry}: {end}") },
        );
    }
    ruling.lets_through()
}

fn decided<T: fmt::Display>(ruling: &Ruling<'_, T>, list: &str) -> Option<String> {
    match ruling {
        Ruling::Unlisted => None,
        Ruling::Allowed(entry) => Some(format!("allow_{list} has {entry}")),
        Ruling::Denied(entry) => Some(format!("deny_{list} has {entry}")),
        Ruling::NotAllowed => Some(format!("there is an allow_{list}, and nothing in it fits")),
    }
}

/// Who may come to a server by IPv6, where that takes a rule.
pub(super) fn server(config: &Config, address: Ipv6Addr, explanation: &mut Explanation) {
    match config.policy.ipv6 {
        Ipv6Policy::Open => return,
        Ipv6Policy::Closed => {}
    }
    let ports = config.listen.iter().flat_map(|listen| &listen.ports);
    for port in ports.map(|port| port.get()) {
        let fits = |rule: &&Allow| {
            rule.to.iter().any(|net| net.contains(&address))
                && rule.services.iter().any(|service| {
                    service.protocol.is_none_or(|it| it == TCP && service.ports.contains(&port))
                })
        };
        let rules: Vec<String> = (1..)
            .zip(&config.policy.allow)
            .filter(|(_, rule)| fits(rule))
            .map(|(nth, rule)| format!("the [[allow]] number {nth} lets in {}", sources(rule)))
            .collect();
        let rules = match rules.as_slice() {
            [] => "no [[allow]] fits, and only answers get in (`policy_closed`)".to_owned(),
            rules => rules.join(", "),
        };
        explanation.push(true, "ipv6", format!("closed; to TCP port {port} of {address}: {rules}"));
    }
}

fn sources(rule: &Allow) -> String {
    match rule.from.as_slice() {
        [] => "everybody".to_owned(),
        from => from.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
    }
}
