//! Source addresses that cannot be true, and destinations that are nobody's business.

use std::net::Ipv6Addr;

use ingress_common::verdict::DropReason;

use crate::bench::{Fate, bench};
use crate::frame::{ICMPV6, Ip6, Tcp, UDP, unpadded};
use crate::place::{self, BACKEND, HERE, OTHER_SITE, SOURCE, WORLD};
use crate::test_run::Skb;

const FROM_WORLD: DropReason = DropReason::SpoofedFromWorld;
/// Behind the VPS, by a route that no device of ours has.
const CONTAINER: Ipv6Addr = Ipv6Addr::new(0xfd00, 6, 0, 0, 0, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const FROM_SITE: DropReason = DropReason::SpoofedFromSite;

fn packets(source: Ipv6Addr, destination: Ipv6Addr) -> [Vec<u8>; 2] {
    let ip = Ip6 { source, destination, ..Ip6::default() };
    [Tcp::default().over6(&ip), ip.around(UDP, &[0; 8])]
}

#[test]
fn from_the_world() {
    let mut bench = bench();
    let cases = [
        (WORLD, *BACKEND.ip(), Fate::Sent),
        (*BACKEND.ip(), *BACKEND.ip(), Fate::Dropped(FROM_WORLD)),
        (OTHER_SITE, *BACKEND.ip(), Fate::Dropped(FROM_WORLD)),
        (SOURCE, *BACKEND.ip(), Fate::Dropped(FROM_WORLD)),
        (HERE, *BACKEND.ip(), Fate::Dropped(FROM_WORLD)),
        (WORLD, SOURCE, Fate::Dropped(DropReason::Nat46FromWorld)),
        (SOURCE, SOURCE, Fate::Dropped(DropReason::Nat46FromWorld)),
        (*BACKEND.ip(), WORLD, Fate::Kernel),
        // What the VPS serves may trust the sites' addresses, and so may what is routed behind it.
        (*BACKEND.ip(), HERE, Fate::Dropped(FROM_WORLD)),
        (OTHER_SITE, HERE, Fate::Dropped(FROM_WORLD)),
        (SOURCE, HERE, Fate::Dropped(FROM_WORLD)),
        (*BACKEND.ip(), CONTAINER, Fate::Dropped(FROM_WORLD)),
        (WORLD, HERE, Fate::Kernel),
        (HERE, HERE, Fate::Kernel),
        (HERE, ALL_NODES, Fate::Kernel),
        (WORLD, CONTAINER, Fate::Kernel),
        ("fe80::1".parse().unwrap(), HERE, Fate::Kernel),
        ("fe80::1".parse().unwrap(), ALL_NODES, Fate::Kernel),
        (Ipv6Addr::UNSPECIFIED, "ff02::1:ff00:1".parse().unwrap(), Fate::Kernel),
    ];
    for (source, destination, fate) in cases {
        for packet in packets(source, destination) {
            assert_eq!(bench.uplink(&packet).fate, fate, "{source} → {destination}");
        }
    }
    // A neighbour solicitation of the router, wherever its address is from.
    for (destination, fate) in [(HERE, Fate::Kernel), (OTHER_SITE, Fate::Dropped(FROM_WORLD))] {
        let ip = Ip6 { source: *BACKEND.ip(), destination, hop_limit: 255, ..Ip6::default() };
        let packet = ip.around(ICMPV6, &[135, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bench.uplink(&packet).fate, fate, "{destination}");
    }
}

#[test]
fn from_a_site() {
    let mut bench = bench();
    let cases = [
        (*BACKEND.ip(), WORLD, Fate::Sent),
        (*BACKEND.ip(), OTHER_SITE, Fate::Sent),
        (WORLD, WORLD, Fate::Dropped(FROM_SITE)),
        (WORLD, SOURCE, Fate::Dropped(FROM_SITE)),
        (SOURCE, WORLD, Fate::Dropped(FROM_SITE)),
        (SOURCE, SOURCE, Fate::Dropped(FROM_SITE)),
        (OTHER_SITE, WORLD, Fate::Dropped(FROM_SITE)),
        (OTHER_SITE, *BACKEND.ip(), Fate::Dropped(FROM_SITE)),
        (OTHER_SITE, SOURCE, Fate::Dropped(FROM_SITE)),
        (HERE, WORLD, Fate::Dropped(FROM_SITE)),
        (HERE, OTHER_SITE, Fate::Dropped(FROM_SITE)),
        (HERE, HERE, Fate::Dropped(FROM_SITE)),
        // Router solicitations, neighbour discovery, pings of the tunnel's own addresses.
        ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap(), Fate::Kernel),
    ];
    for (source, destination, fate) in cases {
        for packet in packets(source, destination) {
            assert_eq!(bench.tunnel(&packet).fate, fate, "{source} → {destination}");
        }
    }
    // Where a router's errors may come from.
    let [tcp, udp] = packets(HERE, SOURCE);
    assert_eq!(bench.tunnel(&tcp).fate, Fate::Dropped(FROM_SITE));
    assert_eq!(bench.tunnel(&udp).fate, Fate::Dropped(DropReason::Untranslatable));
}

/// A site's own address through another device than its tunnel, and after its tunnel is gone.
#[test]
fn from_another_tunnel() {
    let mut bench = bench();
    bench
        .routes
        .replace(&{
            let mut routes = place::routes();
            let ours = "2001:db8:1:0:1::/80".parse().unwrap();
            routes.insert(ours, ingress_common::maps::Route::to_site(5));
            routes
        })
        .unwrap();
    for ifindex in [0, 77] {
        bench.devices.set_site(5, place::device(ifindex, 1420, true)).unwrap();
        for packet in packets(*BACKEND.ip(), WORLD) {
            let seen = bench.tunnel_frame(&unpadded(&packet), Skb::default());
            assert_eq!(seen.fate, Fate::Dropped(FROM_SITE), "{ifindex}");
        }
    }
}

/// What the link layer did not address to us, the programs leave alone.
#[test]
fn frames_to_somebody_else() {
    let mut bench = bench();
    bench.install(&place::splice());
    let [packet, _] = packets(WORLD, *BACKEND.ip());
    let segment = place::client_segment().over4(&place::from_client());
    let [out, _] = packets(*BACKEND.ip(), WORLD);
    for address in [[2, 9, 9, 9, 9, 9], [0xff; 6], [0x33, 0x33, 0, 0, 0, 1]] {
        let to = |packet: &[u8]| [&address[..], &unpadded(packet)[6..]].concat();
        assert_eq!(bench.uplink_frame(&to(&packet), Skb::default()).fate, Fate::Kernel);
        assert_eq!(bench.uplink_frame(&to(&segment), Skb::default()).fate, Fate::Kernel);
        assert_eq!(bench.tunnel_frame(&to(&out), Skb::default()).fate, Fate::Kernel);
    }
}

#[test]
fn other_protocols() {
    let mut bench = bench();
    let mut arp = unpadded(&[0; 46]);
    arp[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(bench.uplink_frame(&arp, Skb::default()).fate, Fate::Kernel);
    assert_eq!(bench.tunnel_frame(&arp, Skb::default()).fate, Fate::Kernel);
    let v4 = place::client_segment().over4(&place::from_client());
    assert_eq!(bench.tunnel(&v4).fate, Fate::Kernel, "tunnels carry no IPv4 of ours");
}
