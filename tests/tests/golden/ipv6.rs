//! IPv6 between the world and the sites: what is forwarded and what is left to the kernel.

use std::net::Ipv6Addr;

use ingress_common::ip::TCP;
use ingress_common::verdict::Traffic;

use crate::bench::{Bench, Fate, Seen, bench};
use crate::frame::{ICMPV6, Ip6, Tcp, UDP, ethernet, read_ip6, read6, unpadded};
use crate::place::{self, BACKEND, HERE, MTU, OTHER_MTU, OTHER_SITE, UPLINK_MTU, WORLD};
use crate::test_run::Skb;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const DESTINATION: u8 = 60;
const NOTHING: u8 = 59;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    In,
    Out,
    /// To another site.
    Across,
}

const WAYS: [Way; 3] = [Way::In, Way::Out, Way::Across];

impl Way {
    fn ip(self) -> Ip6 {
        let (source, destination) = match self {
            Self::In => (WORLD, *BACKEND.ip()),
            Self::Out => (*BACKEND.ip(), WORLD),
            Self::Across => (*BACKEND.ip(), OTHER_SITE),
        };
        Ip6 { source, destination, class: 0xa5, flow_label: 0x9_8765, ..Ip6::default() }
    }

    fn mtu(self) -> u32 {
        match self {
            Self::In => MTU,
            Self::Out => UPLINK_MTU,
            Self::Across => OTHER_MTU,
        }
    }

    #[track_caller]
    fn run(self, bench: &mut Bench, frame: &[u8], skb: Skb) -> Seen {
        match self {
            Self::In => bench.uplink_frame(frame, skb),
            Self::Out | Self::Across => bench.tunnel_frame(frame, skb),
        }
    }

    fn traffic(self) -> Traffic {
        match self {
            Self::In => Traffic::Ipv6In,
            Self::Out | Self::Across => Traffic::Ipv6Out,
        }
    }
}

fn segment() -> Tcp {
    Tcp { source: 443, destination: 5555, flags: 0x18, payload: vec![1; 33], ..Tcp::default() }
}

#[track_caller]
fn expect_kernel(bench: &mut Bench, way: Way, packet: &[u8]) {
    assert_eq!(way.run(bench, &unpadded(packet), Skb::default()).fate, Fate::Kernel, "{way:?}");
}

#[test]
fn one_hop_and_nothing_else() {
    let mut bench = bench();
    for way in WAYS {
        for hop_limit in [2, 64, 255] {
            let packet = segment().over6(&Ip6 { hop_limit, ..way.ip() });
            let seen = way.run(&mut bench, &ethernet(&packet), Skb::default());
            let (ip, tcp) = read6(seen.sent());
            assert_eq!(ip, Ip6 { hop_limit: hop_limit - 1, ..way.ip() });
            assert_eq!(tcp, segment());
            assert_eq!(seen.traffic, [(way.traffic(), 1, packet.len() as u64)]);
        }
    }
}

#[test]
fn a_used_up_hop_limit_is_the_kernels() {
    let mut bench = bench();
    for way in WAYS {
        for hop_limit in [0, 1] {
            expect_kernel(&mut bench, way, &segment().over6(&Ip6 { hop_limit, ..way.ip() }));
        }
    }
}

/// Whatever follows the IPv6 header, except hop-by-hop options, is none of a router's business.
#[test]
fn every_next_header_passes_but_one() {
    let mut bench = bench();
    let extension = [UDP, 0, 1, 4, 0, 0, 0, 0, 0, 53, 0, 53, 0, 8, 0, 0];
    for way in WAYS {
        for next in [UDP, ICMPV6, ROUTING, FRAGMENT, ESP, DESTINATION, NOTHING, 132, 6] {
            let packet = way.ip().around(next, &extension);
            let seen = way.run(&mut bench, &ethernet(&packet), Skb::default());
            let (ip, kind, payload) = read_ip6(seen.sent());
            assert_eq!((ip.hop_limit, kind), (63, next));
            assert_eq!(payload, extension, "{next}");
        }
        expect_kernel(&mut bench, way, &way.ip().around(HOP_BY_HOP, &extension));
    }
}

#[test]
fn oversize_is_the_kernels() {
    let mut bench = bench();
    for way in WAYS {
        let mtu = way.mtu() as usize;
        for (len, fate) in [(mtu, Fate::Sent), (mtu + 1, Fate::Kernel)] {
            for next in [UDP, 6] {
                let mut body = vec![0; len - 40];
                body[12] = 0x50;
                let packet = way.ip().around(next, &body);
                let seen = way.run(&mut bench, &unpadded(&packet), Skb::default());
                assert_eq!(seen.fate, fate, "{way:?}, {next}, {len}");
            }
        }
    }
}

/// A batch is as large as its segments are, headers included.
#[test]
fn batches_are_judged_by_their_segments() {
    let mut bench = bench();
    for way in WAYS {
        for options in [0, 12] {
            let largest = way.mtu() - 60 - options;
            let batch =
                Tcp { options: vec![1; options as usize], payload: vec![5; 3000], ..segment() };
            let packet = batch.over6(&way.ip());
            for (gso_size, fate) in [(largest, Fate::Sent), (largest + 1, Fate::Kernel)] {
                let skb = Skb { gso_size, gso_segs: 3, ..Skb::default() };
                let seen = way.run(&mut bench, &unpadded(&packet), skb);
                assert_eq!(seen.fate, fate, "{way:?}, {options}");
                if fate == Fate::Sent {
                    assert_eq!(seen.traffic, [(way.traffic(), 3, packet.len() as u64)]);
                    assert_eq!(read6(seen.sent()).1, batch);
                }
            }
        }
        let udp = way.ip().around(UDP, &[0; 3000]);
        for (gso_size, fate) in [(way.mtu() - 48, Fate::Sent), (way.mtu() - 47, Fate::Kernel)] {
            let skb = Skb { gso_size, gso_segs: 3, ..Skb::default() };
            assert_eq!(way.run(&mut bench, &unpadded(&udp), skb).fate, fate, "{way:?}");
        }
        // How long the headers of its segments are, the kernel finds out.
        let options =
            [&[TCP, 0, 1, 4, 0, 0, 0, 0][..], &segment().over6(&way.ip())[40..], &[0; 3000]]
                .concat();
        let options = way.ip().around(DESTINATION, &options);
        let skb = Skb { gso_size: way.mtu() - 48, gso_segs: 3, ..Skb::default() };
        assert_eq!(way.run(&mut bench, &unpadded(&options), skb).fate, Fate::Kernel, "{way:?}");
    }
}

/// Whoever batched it may not have counted.
#[test]
fn batches_are_counted_by_their_segments() {
    let mut bench = bench();
    for way in WAYS {
        for (payload, count) in [(2999, 3), (3000, 3), (3001, 4), (1, 1)] {
            let batch = Tcp { payload: vec![5; payload], ..segment() }.over6(&way.ip());
            let skb = Skb { gso_size: 1000, gso_segs: 0, ..Skb::default() };
            let seen = way.run(&mut bench, &unpadded(&batch), skb);
            assert_eq!(seen.traffic, [(way.traffic(), count, batch.len() as u64)], "{payload}");
        }
    }
}

#[test]
fn ethernet_padding_is_cut_off() {
    let mut bench = bench();
    for way in WAYS {
        let packet = way.ip().around(UDP, &[0, 53, 0, 53, 0, 9, 1, 2, 3]);
        for padding in [0, 1, 7, 500] {
            let frame = [unpadded(&packet), vec![0xee; padding]].concat();
            let seen = way.run(&mut bench, &frame, Skb::default());
            assert_eq!(seen.sent().len(), packet.len(), "{way:?}, {padding}");
            assert_eq!(seen.traffic, [(way.traffic(), 1, packet.len() as u64)]);
        }
    }
}

#[test]
fn lengths_that_lie_are_the_kernels() {
    let mut bench = bench();
    for way in WAYS {
        let honest = segment().over6(&way.ip());
        for claimed in [0, honest.len() - 39, 0xffff] {
            let mut packet = honest.clone();
            packet[4..6].copy_from_slice(&(claimed as u16).to_be_bytes());
            expect_kernel(&mut bench, way, &packet);
        }
        let mut version = honest.clone();
        version[0] = 0x50;
        let frame = [&ethernet(&honest)[..14], &version].concat();
        assert_eq!(way.run(&mut bench, &frame, Skb::default()).fate, Fate::Kernel);
    }
}

/// Our own addresses, link-local ones, multicast and prefixes that some other route takes.
#[test]
fn the_kernels_destinations() {
    let mut bench = bench();
    let kernels = ["fe80::1", "ff02::1", "ff02::1:ff00:80", "ff0e::1", "fd00:6::1"];
    let kernels = kernels.map(|address| address.parse().unwrap());
    for way in [Way::In, Way::Out] {
        for destination in kernels.into_iter().chain([HERE]) {
            let packet = segment().over6(&Ip6 { destination, ..way.ip() });
            expect_kernel(&mut bench, way, &packet);
            let solicitation = Ip6 { destination, hop_limit: 255, ..way.ip() }.icmp(135, &[0; 20]);
            expect_kernel(&mut bench, way, &solicitation);
        }
    }
    for source in kernels.into_iter().chain([Ipv6Addr::UNSPECIFIED]) {
        expect_kernel(&mut bench, Way::In, &segment().over6(&Ip6 { source, ..Way::In.ip() }));
    }
    for source in kernels {
        expect_kernel(&mut bench, Way::Out, &segment().over6(&Ip6 { source, ..Way::Out.ip() }));
    }
}

#[test]
fn a_destination_without_a_route_is_the_kernels() {
    let mut bench = bench();
    let mut routes = place::routes();
    routes.remove(&"::/0".parse().unwrap());
    bench.routes.replace(&routes).unwrap();
    for way in [Way::In, Way::Out] {
        expect_kernel(&mut bench, way, &segment().over6(&way.ip()));
    }
}

/// A device that is down or gone leaves the answer (unreachable) to the kernel.
#[test]
fn without_a_device_the_kernel_decides() {
    let mut bench = bench();
    bench.devices.set_uplink(place::device(0, 0, false)).unwrap();
    bench.devices.set_site(1, place::device(0, 0, false)).unwrap();
    for way in [Way::Out, Way::Across] {
        expect_kernel(&mut bench, way, &segment().over6(&way.ip()));
    }
    // Out by where it came in: the kernel sends a redirect.
    bench.devices.set_uplink(place::device(1, UPLINK_MTU, true)).unwrap();
    expect_kernel(&mut bench, Way::Out, &segment().over6(&Way::Out.ip()));
}
