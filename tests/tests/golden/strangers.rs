//! What comes from a site to the NAT46 prefix and belongs to no flow.

use ingress_common::upcall::Upcall;
use ingress_common::verdict::DropReason;

use crate::bench::{Fate, bench, now};
use crate::frame::{Ip6, Tcp, UDP, flag, unpadded};
use crate::place::{
    BACKEND, WORLD, backend_key, backend_segment, client_segment, from_backend, splice, to_backend,
};
use crate::test_run::Skb;

#[test]
fn of_an_expected_backend_everything_is_handed_up() {
    let mut bench = bench();
    bench.marks.expect(&backend_key(), now()).unwrap();
    for flags in 0..=255 {
        for payload in [vec![], vec![4; 30]] {
            let packet = Tcp { flags, payload, ..backend_segment() }.over6(&from_backend());
            let seen = bench.tunnel(&packet);
            assert_eq!(seen.fate, Fate::Handed, "{flags:#x}");
            assert_eq!(seen.handed(Upcall::Backend), packet);
        }
    }
    let padded = [unpadded(&backend_segment().over6(&from_backend())), vec![9; 40]].concat();
    let seen = bench.tunnel_frame(&padded, Skb::default());
    assert_eq!(seen.handed(Upcall::Backend), backend_segment().over6(&from_backend()));
    bench.marks.unexpect(&backend_key());
    let seen = bench.tunnel(&backend_segment().over6(&from_backend()));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::NoFlowFromSite));
}

#[test]
fn an_unexpected_backend_is_reset() {
    let mut bench = bench();
    bench.marks.expect(&backend_key(), now()).unwrap();
    let others = [
        (from_backend(), Tcp { source: 444, ..backend_segment() }),
        (from_backend(), Tcp { destination: 1, ..backend_segment() }),
        (
            Ip6 { source: "2001:db8:1:0:1::81".parse().unwrap(), ..from_backend() },
            backend_segment(),
        ),
        (Ip6 { destination: "64:ff9b:1::1".parse().unwrap(), ..from_backend() }, backend_segment()),
    ];
    for (ip, segment) in others {
        for flags in [flag::SYN, flag::SYN | flag::ACK, flag::ACK, flag::FIN | flag::ACK, 0] {
            let packet = Tcp { flags, ..segment.clone() }.over6(&ip);
            let seen = bench.tunnel(&packet);
            assert_eq!(seen.fate, Fate::Dropped(DropReason::NoFlowFromSite));
            assert_eq!(seen.handed(Upcall::ResetBackend), packet);
        }
        for flags in [flag::RST, flag::RST | flag::ACK] {
            let seen = bench.tunnel(&Tcp { flags, ..segment.clone() }.over6(&ip));
            assert_eq!(seen.fate, Fate::Dropped(DropReason::StrayReset));
            assert!(seen.records.is_empty());
        }
    }
}

/// Errors are the daemon's, whoever on the way sends them; of everything else, nothing passes.
#[test]
fn icmp_errors_are_handed_up() {
    let mut bench = bench();
    bench.marks.expect(&backend_key(), now()).unwrap();
    let quoted = [&[0; 4][..], &client_segment().over6(&to_backend())].concat();
    let routers = [
        *BACKEND.ip(),
        "2001:db8:1:0:1::1".parse().unwrap(),
        // Of the link itself, or of a route that is the kernel's.
        "fe80::1".parse().unwrap(),
        "fd00:6::1".parse().unwrap(),
    ];
    for source in routers {
        let ip = Ip6 { source, ..from_backend() };
        for kind in [1, 2, 3, 4, 100, 127] {
            let packet = ip.icmp(kind, &quoted);
            let seen = bench.tunnel(&packet);
            assert_eq!(seen.fate, Fate::Handed, "{source}, {kind}");
            assert_eq!(seen.handed(Upcall::Icmp6Error), packet);
        }
        for kind in [128, 129, 133, 135, 136, 255] {
            let seen = bench.tunnel(&ip.icmp(kind, &quoted));
            assert_eq!(seen.fate, Fate::Dropped(DropReason::Untranslatable), "{source}, {kind}");
        }
        for next in [UDP, 0, 43, 44, 50, 59, 60, 132] {
            let seen = bench.tunnel(&ip.around(next, &[0; 24]));
            assert_eq!(seen.fate, Fate::Dropped(DropReason::Untranslatable), "{source}, {next}");
        }
    }
    // A router that speaks from anybody's address is not believed.
    let liar = Ip6 { source: WORLD, ..from_backend() };
    let seen = bench.tunnel(&liar.icmp(3, &quoted));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::SpoofedFromSite));
}

/// Of a flow, whose SYN is long answered, and of nobody.
#[test]
fn icmp_errors_have_to_be_about_something() {
    let mut bench = bench();
    let quoted = [&[0; 4][..], &client_segment().over6(&to_backend())].concat();
    let packet = from_backend().icmp(2, &quoted);
    let seen = bench.tunnel(&packet);
    assert_eq!(seen.fate, Fate::Dropped(DropReason::NoFlowFromSite));
    bench.install(&splice());
    assert_eq!(bench.tunnel(&packet).handed(Upcall::Icmp6Error), packet);
    // As much as says whose it is, and less.
    for (octets, fate) in [
        (4 + 44, Fate::Handed),
        (4 + 43, Fate::Dropped(DropReason::NoFlowFromSite)),
        (4, Fate::Dropped(DropReason::NoFlowFromSite)),
    ] {
        let packet = unpadded(&from_backend().icmp(2, &quoted[..octets]));
        assert_eq!(bench.tunnel_frame(&packet, Skb::default()).fate, fate, "{octets}");
    }
    let datagram = [&[0; 4][..], &to_backend().around(UDP, &[0; 8])].concat();
    let seen = bench.tunnel(&from_backend().icmp(2, &datagram));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::NoFlowFromSite));
}

/// TCP from an address that is the kernel's is no flow's and no error, but mostly a server that is in no site's prefix.
#[test]
fn a_router_has_no_connections() {
    let mut bench = bench();
    let ip = Ip6 { source: "fe80::1".parse().unwrap(), ..from_backend() };
    let seen = bench.tunnel(&backend_segment().over6(&ip));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::SpoofedFromSite));
}

#[test]
fn headers_that_lie() {
    let mut bench = bench();
    bench.marks.expect(&backend_key(), now()).unwrap();
    let whole = Tcp { options: vec![1; 8], ..backend_segment() }.over6(&from_backend());
    for claimed in [0, 1, 19, 20, 27, whole.len() - 39, 0xffff] {
        let mut packet = whole.clone();
        packet[4..6].copy_from_slice(&(claimed as u16).to_be_bytes());
        let seen = bench.tunnel_frame(&unpadded(&packet), Skb::default());
        assert_eq!(seen.fate, Fate::Dropped(DropReason::Malformed), "{claimed}");
    }
    for words in 0..5 {
        let mut packet = whole.clone();
        packet[52] = words << 4;
        let seen = bench.tunnel_frame(&unpadded(&packet), Skb::default());
        assert_eq!(seen.fate, Fate::Dropped(DropReason::Malformed), "{words}");
    }
    for len in 40..60 {
        let mut packet = whole[..len].to_vec();
        packet[5] = (len - 40) as u8;
        let seen = bench.tunnel_frame(&unpadded(&packet), Skb::default());
        assert_eq!(seen.fate, Fate::Dropped(DropReason::Malformed), "{len}");
    }
}

/// The error arrives as it was sent, without what Ethernet appended.
#[test]
fn short_errors_lose_their_padding() {
    let mut bench = bench();
    bench.install(&splice());
    let quoted = [&[0; 4][..], &client_segment().over6(&to_backend())[..44]].concat();
    let packet = from_backend().icmp(1, &quoted);
    let padded = [unpadded(&packet), vec![0; 30]].concat();
    let seen = bench.tunnel_frame(&padded, Skb::default());
    assert_eq!(seen.handed(Upcall::Icmp6Error)[..packet.len()], packet);
}
