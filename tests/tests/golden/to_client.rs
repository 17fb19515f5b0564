//! A spliced flow, backend to client: IPv6 in, IPv4 out.

use ingress::handshake::Splice;
use ingress_common::maps::{CLOSING_FIN, CLOSING_RST};
use ingress_common::tcp::Seq;
use ingress_common::upcall::Upcall;
use ingress_common::verdict::{DropReason, Traffic};

use crate::bench::{Bench, Fate, bench, now};
use crate::frame::{DF, Ip4, Ip6, Tcp, ethernet, flag, read4, unpadded};
use crate::place::{
    self, BACKEND_ISN, COOKIE, UPLINK_MTU, backend_segment, from_backend, splice, to_client,
};
use crate::test_run::{Skb, translates_batches};

const DELTA: u32 = COOKIE.wrapping_sub(BACKEND_ISN);

/// Runs it; the identification, which is random where there is one, is left out of the result.
#[track_caller]
fn translated(bench: &mut Bench, ip: &Ip6, tcp: &Tcp) -> (Ip4, Tcp) {
    let (ip, tcp) = read4(bench.tunnel(&tcp.over6(ip)).sent());
    (Ip4 { id: 0, ..ip }, tcp)
}

fn shifted(tcp: &Tcp) -> Tcp {
    Tcp { seq: tcp.seq.wrapping_add(DELTA), ..tcp.clone() }
}

#[test]
fn sequence_numbers_move_on_and_the_rest_stands() {
    let mut bench = bench();
    bench.install(&splice());
    let before = now();
    let segment = backend_segment();
    let packet = segment.over6(&from_backend());
    let v4_len = packet.len() as u64 - 20;
    for frame in [ethernet(&packet), unpadded(&packet)] {
        let seen = bench.tunnel_frame(&frame, Skb::default());
        let (ip, tcp) = read4(seen.sent());
        assert_eq!(ip, Ip4 { id: ip.id, ttl: 63, fragment: 0, ..to_client() });
        assert_eq!(tcp, shifted(&segment));
        assert_eq!(seen.traffic, [(Traffic::Nat46Out, 1, v4_len)]);
        assert!(seen.records.is_empty(), "nobody watches");
    }
    let half = bench.to_client();
    assert_eq!((half.packets, half.bytes, half.closing), (2, 2 * v4_len, 0));
    assert!(half.last_seen >= before && half.last_seen <= now());
    assert_eq!(bench.to_backend().packets, 0, "the other half is the other direction's");
}

#[test]
fn payloads_of_every_length() {
    let mut bench = bench();
    bench.install(&splice());
    for len in (0..70).chain([535, 1000, 1220, 1221, 1359, 1360]) {
        let payload: Vec<u8> = (0..len).map(|nth| (nth * 7 + 250) as u8).collect();
        let segment = Tcp { payload, ..backend_segment() };
        let (_, tcp) = translated(&mut bench, &from_backend(), &segment);
        assert_eq!(tcp, shifted(&segment), "{len}");
    }
}

#[test]
fn sequence_numbers_wrap() {
    let mut bench = bench();
    for (cookie, backend_isn) in
        [(5, u32::MAX - 5), (u32::MAX, 0), (0, u32::MAX), (0x8000_0000, 0), (7, 7)]
    {
        bench.flows.remove(place::tuple());
        bench.install(&Splice { cookie: Seq(cookie), backend_isn: Seq(backend_isn), ..splice() });
        for behind in [1, 2, 10, 0x7fff_ffff, u32::MAX] {
            let segment = Tcp { seq: backend_isn.wrapping_add(behind), ..backend_segment() };
            let (_, tcp) = translated(&mut bench, &from_backend(), &segment);
            assert_eq!(tcp, Tcp { seq: cookie.wrapping_add(behind), ..segment });
        }
    }
}

/// A backend's SACK edges are the client's own numbers.
#[test]
fn options_stand() {
    let mut bench = bench();
    bench.install(&splice());
    let cases: [&[u8]; 4] = [
        &[1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[1; 40],
        &[9, 0, 5, 10],
    ];
    for options in cases {
        let segment = Tcp { options: options.to_vec(), ..backend_segment() };
        let (_, tcp) = translated(&mut bench, &from_backend(), &segment);
        assert_eq!(tcp, shifted(&segment), "{options:?}");
    }
}

/// From the backend's scale to the promised one: down, never to zero, never beyond what it offered.
#[test]
fn windows() {
    let mut bench = bench();
    for (backend_scale, promised_scale, window, expected) in [
        (Some(7), Some(7), 500, 500),
        (Some(9), Some(7), 500, 2000),
        (Some(9), Some(7), 65_535, 65_535),
        (Some(5), Some(7), 500, 125),
        (Some(5), Some(7), 3, 1),
        (Some(5), Some(7), 0, 0),
        (None, Some(7), 65_535, 511),
        (None, Some(7), 100, 1),
        (None, None, 1234, 1234),
        (Some(14), Some(0), 9, 65_535),
        (Some(0), Some(14), 65_535, 3),
    ] {
        bench.flows.remove(place::tuple());
        bench.install(&Splice { backend_scale, promised_scale, ..splice() });
        let segment = Tcp { window, ..backend_segment() };
        let (_, tcp) = translated(&mut bench, &from_backend(), &segment);
        assert_eq!(tcp, Tcp { window: expected, ..shifted(&segment) });
        // That of a SYN-ACK is never scaled.
        let again = Tcp { window, flags: flag::SYN | flag::ACK, ..backend_segment() };
        let (_, tcp) = translated(&mut bench, &from_backend(), &again);
        assert_eq!(tcp, shifted(&again));
    }
}

#[test]
fn traffic_class_and_hop_limit() {
    let mut bench = bench();
    bench.install(&splice());
    let segment = backend_segment();
    for class in 0..=255 {
        let before = Ip6 { class, flow_label: 0xf_fedc, ..from_backend() };
        let (ip, tcp) = translated(&mut bench, &before, &segment);
        assert_eq!(ip, Ip4 { tos: class, ttl: 63, fragment: 0, ..to_client() });
        assert_eq!(tcp, shifted(&segment));
    }
    for hop_limit in 2..=255 {
        let (ip, _) = translated(&mut bench, &Ip6 { hop_limit, ..from_backend() }, &segment);
        assert_eq!(ip.ttl, hop_limit - 1);
    }
}

/// RFC 7915 §5.1: up to 1260 octets a router may fragment, and then needs an identification.
#[test]
fn only_small_packets_may_be_fragmented() {
    let mut bench = bench();
    bench.install(&splice());
    let mut identifications = std::collections::BTreeSet::new();
    for len in [1259, 1260, 1261, 1400] {
        let segment = Tcp { payload: vec![0; len - 40], ..backend_segment() };
        for _ in 0..8 {
            let (ip, _) = read4(bench.tunnel(&segment.over6(&from_backend())).sent());
            if len <= 1260 {
                assert_eq!(ip.fragment, 0, "{len}");
                identifications.insert(ip.id);
            } else {
                assert_eq!((ip.fragment, ip.id), (DF, 0), "{len}");
            }
        }
    }
    assert!(identifications.len() > 8, "{identifications:?}");
}

#[test]
fn every_flag_passes() {
    let mut bench = bench();
    bench.install(&splice());
    for flags in 0..=255 {
        for reserved in [0, 1, 15] {
            let segment = Tcp { flags, reserved, urgent: 0x4321, ..backend_segment() };
            let (_, tcp) = translated(&mut bench, &from_backend(), &segment);
            assert_eq!(tcp, shifted(&segment), "{flags:#x}");
        }
    }
}

#[test]
fn closing_leaves_marks() {
    let mut bench = bench();
    for (flags, marks) in [
        (flag::ACK, 0),
        (flag::ACK | flag::FIN, CLOSING_FIN),
        (flag::RST, CLOSING_RST),
        (flag::RST | flag::FIN, CLOSING_FIN | CLOSING_RST),
    ] {
        bench.flows.remove(place::tuple());
        bench.install(&splice());
        bench.tunnel(&Tcp { flags, ..backend_segment() }.over6(&from_backend()));
        assert_eq!(bench.to_client().closing, marks);
        bench.tunnel(&backend_segment().over6(&from_backend()));
        assert_eq!(bench.to_client().closing, marks & CLOSING_FIN, "who goes on has not reset");
        assert_eq!(bench.to_backend().closing, 0);
    }
}

#[test]
fn batches() {
    let mut bench = bench();
    bench.install(&splice());
    // 20 octets of IPv4, 20 of TCP and 1220 more may be fragmented.
    let sizes: &[(usize, u32, u16)] = if translates_batches() {
        &[(3000, 1440, DF), (3000, 1221, DF), (3000, 1220, 0)]
    } else {
        &[]
    };
    for &(payload, gso_size, fragment) in sizes {
        let batch = Tcp { payload: vec![9; payload], ..backend_segment() };
        let packet = batch.over6(&from_backend());
        let skb = Skb { gso_size, gso_segs: 4, ..Skb::default() };
        let before = bench.to_client().packets;
        let seen = bench.tunnel_frame(&unpadded(&packet), skb);
        let (ip, tcp) = read4(seen.sent());
        assert_eq!(ip.fragment, fragment, "{gso_size}");
        assert_eq!(tcp, shifted(&batch));
        assert_eq!(seen.traffic, [(Traffic::Nat46Out, 4, packet.len() as u64 - 20)]);
        assert_eq!(bench.to_client().packets, before + 4);

        // Whoever batched it may not have counted.
        let seen = bench.tunnel_frame(&unpadded(&packet), Skb { gso_segs: 0, ..skb });
        assert_eq!(seen.traffic, [(Traffic::Nat46Out, 3, packet.len() as u64 - 20)]);
    }
    // 20 octets of IPv4, 20 of TCP and 1460 more fill the uplink.
    let batch = Tcp { payload: vec![9; 3000], ..backend_segment() }.over6(&from_backend());
    let most =
        if translates_batches() { Fate::Sent } else { Fate::Dropped(DropReason::KernelRefused) };
    for (gso_size, fate) in [(1460, most), (1461, Fate::Dropped(DropReason::TooBig))] {
        let skb = Skb { gso_size, gso_segs: 3, ..Skb::default() };
        assert_eq!(bench.tunnel_frame(&unpadded(&batch), skb).fate, fate);
    }
}

#[test]
fn refused_with_an_answer() {
    let mut bench = bench();
    bench.install(&splice());
    let large = Tcp { payload: vec![3; UPLINK_MTU as usize - 39], ..backend_segment() };
    for (segment, hop_limit, kind, reason) in [
        (&backend_segment(), 1, Upcall::HopLimit, DropReason::HopLimit),
        (&backend_segment(), 0, Upcall::HopLimit, DropReason::HopLimit),
        (&large, 64, Upcall::TooBig, DropReason::TooBig),
    ] {
        let packet = segment.over6(&Ip6 { hop_limit, ..from_backend() });
        let seen = bench.tunnel(&packet);
        assert_eq!(seen.fate, Fate::Dropped(reason));
        assert_eq!(seen.handed(kind), packet);
    }
    assert_eq!(bench.to_client().packets, 0);
    let fits = Tcp { payload: vec![3; UPLINK_MTU as usize - 40], ..backend_segment() };
    translated(&mut bench, &from_backend(), &fits);
}

#[test]
fn without_an_uplink() {
    let mut bench = bench();
    bench.install(&splice());
    bench.devices.set_uplink(place::device(0, 0, true)).unwrap();
    let seen = bench.tunnel(&backend_segment().over6(&from_backend()));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::SiteDown));
}
