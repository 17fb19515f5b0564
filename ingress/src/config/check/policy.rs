//! The policy. Where a slip would leave open what was meant to be closed, it is refused.

use std::{net::IpAddr, ops::RangeInclusive};

use ingress_common::{
    ip::{TCP, UDP},
    policy::has_ports,
};
use ipnet::{IpNet, Ipv6Net};
use toml::Spanned;

use super::{
    super::{
        Allow, AllowedService, NamePattern, Policy, Site, host_name,
        raw::{RawAllow, RawNumber, RawPolicy},
    },
    Check,
};
use crate::policy::{Entries, compile};

impl Check<'_> {
    pub fn policy(
        &mut self,
        raw: RawPolicy,
        allow: Vec<Spanned<RawAllow>>,
        sites: &[Site],
        defaults: &[Spanned<String>],
    ) -> Policy {
        if raw.ipv6.is_none()
            && let Some(first) = allow.first()
        {
            self.at(
                &Spanned::new(first.span().start..first.span().start + 1, ()),
                "this [[allow]] changes nothing, since everything is let in",
                "set ipv6 = \"closed\" in [policy]; or \"open\" there, to keep the rule for later",
            );
        }
        let policy = Policy {
            ipv6: raw.ipv6.unwrap_or_default(),
            deny_clients: self.clients(&raw.deny_clients),
            allow_clients: self.clients(&raw.allow_clients),
            deny_names: self.patterns(&raw.deny_names),
            allow_names: self.patterns(&raw.allow_names),
            allow: allow.iter().map(|rule| self.allow(rule.get_ref(), sites)).collect(),
        };
        for name in defaults {
            // What is no name has been said already.
            let Ok(host) = host_name(name.get_ref()) else { continue };
            if !policy.rule_on(&host).lets_through() {
                self.at(
                    name,
                    format!("the default_host \"{host}\" is one that the lists of names in [policy] refuse"),
                    "leave one of the two out",
                );
            }
        }
        if let Err(error) = compile(&policy) {
            let remedy = "take fewer, or larger prefixes and ranges";
            match longest(error.what, &raw, &allow) {
                Some(place) => self.at(&place, error.to_string(), remedy),
                None => self.missing(&error.to_string(), remedy),
            }
        }
        policy
    }

    fn clients(&mut self, list: &[Spanned<String>]) -> Vec<IpNet> {
        list.iter().filter_map(|text| self.net(text)).collect()
    }

    fn patterns(&mut self, list: &[Spanned<String>]) -> Vec<NamePattern> {
        let mut patterns = Vec::new();
        for text in list {
            match NamePattern::parse(text.get_ref()) {
                Ok(pattern) => patterns.push(pattern),
                Err(problem) => self.at(
                    text,
                    format!("the name {:?} {problem}", text.get_ref()),
                    "write a name as \"www.example.org\", or \"*.example.org\" for all names below",
                ),
            }
        }
        patterns
    }

    fn allow(&mut self, raw: &RawAllow, sites: &[Site]) -> Allow {
        if raw.to.get_ref().is_empty() {
            self.at(&raw.to, "no address is listed", "name whom this lets clients reach");
        }
        let to = raw.to.get_ref().iter().filter_map(|text| self.target(text, sites)).collect();
        let protocol = raw.protocol.as_ref().and_then(|protocol| self.protocol(protocol));
        let ports = raw.ports.as_ref().map(|list| {
            if list.get_ref().is_empty() {
                self.at(list, "no port is listed", "leave `ports` out for all of them");
            }
            if let Some(protocol) = protocol.filter(|protocol| !has_ports(*protocol)) {
                let what = format!("protocol {protocol} has no ports");
                self.at(list, what, "only tcp and udp have: leave `ports` out");
            }
            list.get_ref().iter().filter_map(|port| self.ports(port)).collect::<Vec<_>>()
        });
        let services = match (protocol, ports) {
            (_, None) => vec![AllowedService { protocol, ports: 0..=u16::MAX }],
            // Left out, every protocol is meant, and two have ports.
            (None, Some(ports)) => [TCP, UDP].iter().flat_map(|it| each(*it, &ports)).collect(),
            (Some(protocol), Some(ports)) => each(protocol, &ports).collect(),
        };
        let from = raw.from.as_ref().map_or_else(Vec::new, |list| {
            if list.get_ref().is_empty() {
                self.at(list, "nobody is listed", "leave `from` out for everybody");
            }
            list.get_ref().iter().filter_map(|text| self.v6(text)).collect()
        });
        Allow { to, services, from }
    }

    fn target(&mut self, text: &Spanned<String>, sites: &[Site]) -> Option<Ipv6Net> {
        let net = self.v6(text)?;
        let inside = sites.iter().flat_map(|site| &site.prefixes).any(|own| own.contains(&net));
        // Without a valid site every address would be outside, which helps nobody.
        if !inside && !sites.is_empty() {
            let all: Vec<String> =
                sites.iter().flat_map(|site| &site.prefixes).map(Ipv6Net::to_string).collect();
            self.at(
                text,
                format!("{:?} does not lie inside a site's prefixes", text.get_ref()),
                format!("take an address or a prefix inside {}", all.join(", ")),
            );
        }
        Some(net)
    }

    fn v6(&mut self, text: &Spanned<String>) -> Option<Ipv6Net> {
        match self.net(text)? {
            IpNet::V6(net) => Some(net),
            IpNet::V4(net) => {
                self.at(
                    text,
                    format!("{net} is IPv4, which comes by name and not by [[allow]]"),
                    "take IPv6 prefixes here; `deny_clients` and `allow_clients` know IPv4, too",
                );
                None
            }
        }
    }

    /// An address, or a prefix.
    fn net(&mut self, text: &Spanned<String>) -> Option<IpNet> {
        let net = match (text.get_ref().parse::<IpAddr>(), text.get_ref().parse::<IpNet>()) {
            (Ok(address), _) => IpNet::from(address),
            (Err(_), Ok(net)) => net,
            (Err(_), Err(_)) => {
                self.at(
                    text,
                    format!("{:?} is neither an address nor a prefix", text.get_ref()),
                    "write it as in \"192.0.2.0/24\", \"2001:db8:bad::/48\" or \"2001:db8::7\"",
                );
                return None;
            }
        };
        if net.addr() != net.network() {
            self.at(
                text,
                format!("{net} has bits set beyond its length"),
                format!("write \"{}\"", net.trunc()),
            );
            return None;
        }
        if let IpNet::V6(v6) = net
            && v6.prefix_len() >= 96
            && let Some(v4) = v6.addr().to_ipv4_mapped()
        {
            let remedy = format!("write \"{v4}/{}\"", v6.prefix_len() - 96);
            self.at(text, format!("{net} is IPv4 in disguise"), remedy);
            return None;
        }
        Some(net)
    }

    fn protocol(&mut self, raw: &Spanned<RawNumber>) -> Option<u8> {
        let protocol = match raw.get_ref() {
            RawNumber::Text(text) if text == "tcp" => Some(TCP),
            RawNumber::Text(text) if text == "udp" => Some(UDP),
            RawNumber::Text(_) => None,
            RawNumber::Number(number) => u8::try_from(*number).ok(),
        };
        if protocol.is_none() {
            let what = format!("{} is not a protocol", raw.get_ref());
            self.at(raw, what, "take \"tcp\", \"udp\", or a number from 0 to 255");
        }
        protocol
    }

    fn ports(&mut self, raw: &Spanned<RawNumber>) -> Option<RangeInclusive<u16>> {
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
        let ports = match raw.get_ref() {
            RawNumber::Number(number) => port(&number.to_string()).map(|port| port..=port),
            RawNumber::Text(text) => match text.split_once('-') {
                Some((from, to)) => port(from).zip(port(to)).map(|(from, to)| from..=to),
                None => port(text).map(|port| port..=port),
            },
        };
        let ports = ports.filter(|ports| !ports.is_empty());
        if ports.is_none() {
            let what = format!("{} is neither a port nor a range of ports", raw.get_ref());
            self.at(raw, what, "write a number from 1 to 65535, or a range as in \"8000-8010\"");
        }
        ports
    }
}

/// Where the longest of the lists begins that such entries come from.
fn longest(entries: Entries, raw: &RawPolicy, allow: &[Spanned<RawAllow>]) -> Option<Spanned<()>> {
    fn list<T>(list: &Spanned<Vec<T>>) -> (usize, usize) {
        (list.get_ref().len(), list.span().start)
    }
    let rules = allow.iter().map(Spanned::get_ref);
    let lists: Vec<(usize, usize)> = match entries {
        Entries::Targets => rules.map(|rule| list(&rule.to)).collect(),
        Entries::Services => rules.filter_map(|rule| rule.ports.as_ref()).map(list).collect(),
        Entries::Sources => {
            let clients = [&raw.deny_clients, &raw.allow_clients];
            let clients = clients
                .into_iter()
                .filter_map(|list| Some((list.len(), list.first()?.span().start)));
            rules.filter_map(|rule| rule.from.as_ref()).map(list).chain(clients).collect()
        }
    };
    let (_, start) = lists.into_iter().max()?;
    Some(Spanned::new(start..start + 1, ()))
}

fn each(protocol: u8, ports: &[RangeInclusive<u16>]) -> impl Iterator<Item = AllowedService> {
    let service = move |ports| AllowedService { protocol: Some(protocol), ports };
    ports.iter().cloned().map(service)
}
