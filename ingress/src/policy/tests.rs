//! What the tries say is what the configuration says.

use std::net::Ipv6Addr;

use ingress_common::policy::{Approach, Judgement, Rules, Settings, judge, mapped};
use proptest::prelude::*;

use super::*;
use crate::config::AllowedService;

/// The tries, by the rule that a kernel's trie goes by.
impl Rules for RuleSet {
    fn source(&self, group: u32, address: &[u8; 16]) -> Option<bool> {
        let address = Ipv6Addr::from(*address);
        self.sources
            .iter()
            .filter(|((of, net), _)| *of == group && net.contains(&address))
            .max_by_key(|((_, net), _)| net.prefix_len())
            .map(|(_, may)| *may)
    }

    fn services(&self, address: &[u8; 16]) -> Option<u32> {
        let address = Ipv6Addr::from(*address);
        self.targets
            .iter()
            .filter(|(net, _)| net.contains(&address))
            .max_by_key(|(net, _)| net.prefix_len())
            .map(|(_, services)| *services)
    }

    fn group(&self, services: u32, protocol: u8, port: [u8; 2]) -> Option<u32> {
        let port = u16::from_be_bytes(port);
        self.services
            .iter()
            .filter(|((of, ports), _)| *of == services && ports.covers(protocol, port))
            .max_by_key(|((_, ports), _)| ports.bits())
            .map(|(_, group)| *group)
    }
}

fn settings(set: &RuleSet) -> Settings {
    Settings::new(1, set.closed, set.clients, set.only_listed)
}

/// The configuration, read as an operator reads it.
fn plainly(policy: &Policy, from: Ipv6Addr, to: Ipv6Addr, protocol: u8, port: u16) -> Judgement {
    let listed = |list: &[IpNet]| list.iter().any(|net| v6(net).contains(&from));
    if listed(&policy.deny_clients)
        || !policy.allow_clients.is_empty() && !listed(&policy.allow_clients)
    {
        return Judgement::ClientDenied;
    }
    let admitted = policy.ipv6 == Ipv6Policy::Open
        || policy.allow.iter().any(|rule| {
            rule.to.iter().any(|net| net.contains(&to))
                && (rule.from.is_empty() || rule.from.iter().any(|net| net.contains(&from)))
                && rule.services.iter().any(|service| {
                    service
                        .protocol
                        .is_none_or(|it| it == protocol && service.ports.contains(&port))
                })
        });
    if admitted { Judgement::Admitted } else { Judgement::Closed }
}

/// Few addresses and ports, so that rules meet.
fn address() -> impl Strategy<Value = Ipv6Addr> {
    (0u16..4, 0u16..4, prop_oneof![Just(0u16), Just(1), Just(0x8000)])
        .prop_map(|(a, b, c)| Ipv6Addr::new(0x2001, 0xdb8, a, b, 0, 0, 0, c))
}

fn net() -> impl Strategy<Value = Ipv6Net> {
    (
        address(),
        prop_oneof![Just(128u8), Just(113), Just(112), Just(64), Just(63), Just(48), Just(32)],
    )
        .prop_map(|(address, len)| Ipv6Net::new(address, len).unwrap().trunc())
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![0u16..20, 1020u16..1030, 65530u16..=65535]
}

fn service() -> impl Strategy<Value = AllowedService> {
    let every = prop_oneof![Just(None), Just(Some(6u8)), Just(Some(58))]
        .prop_map(|protocol| AllowedService { protocol, ports: 0..=u16::MAX });
    let some = (prop_oneof![Just(6u8), Just(17)], port(), port()).prop_map(|(protocol, a, b)| {
        AllowedService { protocol: Some(protocol), ports: a.min(b)..=a.max(b) }
    });
    prop_oneof![1 => every, 3 => some]
}

fn rule() -> impl Strategy<Value = Allow> {
    let few = |most| prop::collection::vec(net(), 0..most);
    (prop::collection::vec(net(), 1..3), prop::collection::vec(service(), 1..3), few(3))
        .prop_map(|(to, services, from)| Allow { to, services, from })
}

fn policy() -> impl Strategy<Value = Policy> {
    let clients = || prop::collection::vec(net().prop_map(IpNet::V6), 0..3);
    let ipv6 = prop_oneof![1 => Just(Ipv6Policy::Open), 4 => Just(Ipv6Policy::Closed)];
    (ipv6, clients(), clients(), prop::collection::vec(rule(), 0..6)).prop_map(
        |(ipv6, deny_clients, allow_clients, allow)| Policy {
            ipv6,
            deny_clients,
            allow_clients,
            allow,
            ..Policy::default()
        },
    )
}

proptest! {
    #[test]
    fn the_tries_say_what_the_configuration_says(
        policy in policy(),
        packets in prop::collection::vec((address(), address(), 0usize..3, port()), 1..40),
    ) {
        let set = compile(&policy).unwrap();
        for (from, to, protocol, port) in packets {
            let protocol = [6, 17, 58][protocol];
            let port = if protocol == 58 { 0 } else { port };
            let approach = Approach {
                outside: &from.octets(),
                inside: &to.octets(),
                protocol,
                port: port.to_be_bytes(),
            };
            prop_assert_eq!(
                judge(settings(&set), &set, &approach),
                plainly(&policy, from, to, protocol, port),
                "{} to {}, {} {}", from, to, protocol, port
            );
        }
    }

    /// A range is its ports and no others, in no more blocks than that takes.
    #[test]
    fn ranges(a: u16, b: u16, probes in prop::collection::vec(any::<u16>(), 20)) {
        let ports = a.min(b)..=a.max(b);
        let blocks = Ports::of(&AllowedService { protocol: Some(6), ports: ports.clone() });
        prop_assert!(blocks.len() <= 30);
        let ends = [a, b, a.wrapping_sub(1), b.wrapping_add(1), a.wrapping_add(1)];
        for port in probes.into_iter().chain(ends) {
            let hits = blocks.iter().filter(|block| block.covers(6, port)).count();
            prop_assert_eq!(hits, usize::from(ports.contains(&port)), "{}", port);
            prop_assert!(!blocks.iter().any(|block| block.covers(17, port)));
        }
    }
}

#[test]
fn ipv4_clients_have_a_place_of_their_own() {
    let policy = Policy {
        deny_clients: vec!["192.0.2.0/24".parse().unwrap()],
        allow_clients: vec!["192.0.2.7/32".parse().unwrap(), "0.0.0.0/0".parse().unwrap()],
        ..Policy::default()
    };
    let set = compile(&policy).unwrap();
    let may = |address: [u8; 4]| {
        ingress_common::policy::client_may(settings(&set), &set, &mapped(address))
    };
    assert!(!may([192, 0, 2, 1]) && !may([192, 0, 2, 7]) && may([192, 0, 3, 1]));
    let v6 = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
    assert!(!ingress_common::policy::client_may(settings(&set), &set, &v6), "nobody listed it");
}

#[test]
fn what_has_no_room_is_refused() {
    let clients =
        (0u32..70_000).map(|nth| IpNet::V4(ipnet::Ipv4Net::from(std::net::Ipv4Addr::from(nth))));
    let policy = Policy { deny_clients: clients.collect(), ..Policy::default() };
    let error = compile(&policy).unwrap_err().to_string();
    assert_eq!(error, "the policy makes 70000 entries for clients, and there is room for 65536");
}
