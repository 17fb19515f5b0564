//! What the policy makes of packets from outside, and what it learns from those that go out.
//!
//! Here are the rules and packets of all these tests, and a few of them on real devices.

mod clients;
mod connections;
mod headers;
mod rules;

use std::net::{IpAddr, Ipv6Addr};

use ingress::config::{Allow, AllowedService, Ipv6Policy, Policy};
use ingress_common::verdict::DropReason;
use ipnet::IpNet;

use crate::bench::{Bench, Fate};
use crate::device::Offload;
use crate::frame::{ICMPV6, Ip6, TCP, Tcp, UDP, flag, read_ip6, unpadded};
use crate::place::{BACKEND, WORLD};
use crate::test_run::Skb;
use crate::wire::on_every_wire;

const ESP: u8 = 50;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const HOP_BY_HOP: u8 = 0;
const CLOSED: Fate = Fate::Dropped(DropReason::PolicyClosed);
const DENIED: Fate = Fate::Dropped(DropReason::ClientDenied);
const STRANGER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, 9);

fn service(protocol: u8, ports: std::ops::RangeInclusive<u16>) -> AllowedService {
    AllowedService { protocol: Some(protocol), ports }
}

fn rule(to: &str, service: AllowedService, from: &[&str]) -> Allow {
    let from = from.iter().map(|net| net.parse().unwrap()).collect();
    Allow { to: vec![to.parse().unwrap()], services: vec![service], from }
}

/// TCP 443 for everybody; 8000 to 8010 for [`WORLD`]'s neighbours; UDP 53 at the whole site.
fn closed() -> Policy {
    let backend = "2001:db8:1:0:1::80/128";
    Policy {
        ipv6: Ipv6Policy::Closed,
        allow: vec![
            rule(backend, service(TCP, 443..=443), &[]),
            rule(backend, service(TCP, 8000..=8010), &["2001:db8:c::/48"]),
            rule("2001:db8:1:0:1::/80", service(UDP, 53..=53), &[]),
        ],
        ..Policy::default()
    }
}

fn denying(deny: &[&str], allow: &[&str]) -> Policy {
    let net = |text: &&str| match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse::<IpNet>().unwrap(),
    };
    let nets = |list: &[&str]| list.iter().map(net).collect();
    Policy { deny_clients: nets(deny), allow_clients: nets(allow), ..Policy::default() }
}

fn inward() -> Ip6 {
    Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() }
}

fn outward() -> Ip6 {
    Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() }
}

fn segment(source: u16, destination: u16, flags: u8) -> Tcp {
    Tcp { source, destination, flags, ..Tcp::default() }
}

fn datagram(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes(), [0, 12], [0, 0], [1, 2], [3, 4]].concat()
}

/// A packet with a fragment header before its payload.
fn piece(ip: &Ip6, protocol: u8, offset: u16, more: bool, id: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    ip.around(FRAGMENT, &[&[protocol, 0, high, low, 0, 0, 0, id], payload].concat())
}

#[track_caller]
fn fate_in(bench: &mut Bench, packet: &[u8]) -> Fate {
    bench.uplink_frame(&unpadded(packet), Skb::default()).fate
}

#[track_caller]
fn goes_out(bench: &mut Bench, packet: &[u8]) {
    assert_eq!(bench.tunnel_frame(&unpadded(packet), Skb::default()).fate, Fate::Sent);
}

/// On devices with Ethernet headers and without, of which the test run knows none.
#[test]
fn with_and_without_ethernet() {
    on_every_wire(|wire| {
        let policy = closed();
        wire.govern(&policy);
        let before = wire.drops(DropReason::PolicyClosed);
        wire.uplink.send(&segment(5555, 22, flag::SYN).over6(&inward()), Offload::None);
        wire.uplink.send(&segment(80, 40_000, flag::ACK).over6(&inward()), Offload::None);
        wire.uplink.send(&segment(5555, 443, flag::SYN).over6(&inward()), Offload::None);
        let arrived = wire.tunnel.receive();
        assert_eq!(read_ip6(&arrived).2[..4], [0x15, 0xb3, 1, 0xbb], "the last one alone");
        assert_eq!(wire.drops(DropReason::PolicyClosed), before + 2);
        wire.tunnel.send(&segment(40_000, 80, flag::SYN).over6(&outward()), Offload::None);
        wire.uplink.receive();
        wire.uplink.send(&segment(80, 40_000, flag::ACK).over6(&inward()), Offload::None);
        assert_eq!(read_ip6(&wire.tunnel.receive()).2[..2], [0, 80]);
        wire.uplink.send(&inward().icmp(2, &[0; 44]), Offload::None);
        assert_eq!(read_ip6(&wire.tunnel.receive()).1, ICMPV6);
        wire.govern(&denying(&["2001:db8:c::/48"], &[]));
        wire.uplink.send(&segment(5555, 443, flag::SYN).over6(&inward()), Offload::None);
        wire.uplink.send(&inward().icmp(2, &[0; 44]), Offload::None);
        assert_eq!(read_ip6(&wire.tunnel.receive()).1, ICMPV6);
        assert_eq!(wire.drops(DropReason::ClientDenied), 1);
    });
}
