//! A spliced flow, client to backend: IPv4 in, IPv6 out.

use ingress::handshake::Splice;
use ingress_common::maps::{CLOSING_FIN, CLOSING_RST};
use ingress_common::tcp::Seq;
use ingress_common::upcall::Upcall;
use ingress_common::verdict::{DropReason, Traffic};

use crate::bench::{Bench, Fate, bench, now};
use crate::frame::{DF, Ip4, Ip6, Tcp, ethernet, flag, read6, unpadded};
use crate::place::{
    self, BACKEND_ISN, COOKIE, MTU, client_segment, from_client, splice, to_backend,
};
use crate::test_run::{Skb, translates_batches};

const DELTA: u32 = COOKIE.wrapping_sub(BACKEND_ISN);

#[track_caller]
fn translated(bench: &mut Bench, ip: &Ip4, tcp: &Tcp) -> (Ip6, Tcp) {
    read6(bench.uplink(&tcp.over4(ip)).sent())
}

fn acked(tcp: &Tcp) -> Tcp {
    Tcp { ack: tcp.ack.wrapping_sub(DELTA), ..tcp.clone() }
}

#[test]
fn acknowledgments_move_back_and_the_rest_stands() {
    let mut bench = bench();
    bench.install(&splice());
    let before = now();
    let segment = client_segment();
    let packet = segment.over4(&from_client());
    for frame in [ethernet(&packet), unpadded(&packet)] {
        let seen = bench.uplink_frame(&frame, Skb::default());
        let (ip, tcp) = read6(seen.sent());
        assert_eq!(ip, Ip6 { hop_limit: 63, ..to_backend() });
        assert_eq!(tcp, acked(&segment));
        assert_eq!(seen.traffic, [(Traffic::Nat46In, 1, packet.len() as u64)]);
        assert!(seen.records.is_empty());
    }
    let half = bench.to_backend();
    assert_eq!((half.packets, half.bytes, half.closing), (2, 2 * packet.len() as u64, 0));
    assert!(half.last_seen >= before && half.last_seen <= now());
    assert_eq!(bench.to_client().packets, 0, "the other half is the other direction's");
}

/// Every payload length: odd ones, none at all, and what Ethernet pads.
#[test]
fn payloads_of_every_length() {
    let mut bench = bench();
    bench.install(&splice());
    for len in (0..70).chain([535, 1000, 1359, 1360]) {
        let payload: Vec<u8> = (0..len).map(|nth| (nth * 7 + 250) as u8).collect();
        let segment = Tcp { payload, ..client_segment() };
        let (_, tcp) = translated(&mut bench, &from_client(), &segment);
        assert_eq!(tcp, acked(&segment), "{len}");
    }
}

#[test]
fn acknowledgments_wrap() {
    let mut bench = bench();
    for (cookie, backend_isn) in
        [(5, u32::MAX - 5), (u32::MAX, 0), (0, u32::MAX), (0x8000_0000, 0), (7, 7)]
    {
        bench.flows.remove(place::tuple());
        bench.install(&Splice { cookie: Seq(cookie), backend_isn: Seq(backend_isn), ..splice() });
        for behind in [1, 2, 10, 0x7fff_ffff, u32::MAX] {
            let segment = Tcp { ack: cookie.wrapping_add(behind), ..client_segment() };
            let (_, tcp) = translated(&mut bench, &from_client(), &segment);
            assert_eq!(tcp, Tcp { ack: backend_isn.wrapping_add(behind), ..segment });
        }
    }
}

#[test]
fn sack_edges_move_too() {
    let mut bench = bench();
    bench.install(&splice());
    let edges = [1, 100, 0x7000_0000, 0x7000_0001, u32::MAX, 3, DELTA, DELTA - 1];
    for blocks in 1..=4usize {
        for nops in 0..=38 - 8 * blocks {
            let area = |by: u32| {
                let mut area = vec![1; nops];
                area.extend([5, 2 + 8 * blocks as u8]);
                for edge in &edges[..2 * blocks] {
                    area.extend(edge.wrapping_sub(by).to_be_bytes());
                }
                area.resize(area.len().next_multiple_of(4), 0);
                area
            };
            let segment = Tcp { options: area(0), ..client_segment() };
            let (_, tcp) = translated(&mut bench, &from_client(), &segment);
            assert_eq!(tcp, Tcp { options: area(DELTA), ..acked(&segment) }, "{blocks}, {nops}");
        }
    }
}

#[test]
fn options_that_are_no_sack_stand() {
    let mut bench = bench();
    bench.install(&splice());
    let cases: [&[u8]; 8] = [
        &[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[5, 1, 1, 1],
        &[5, 12, 1, 2, 3, 4, 5, 6],
        &[9, 0, 5, 10],
        &[254, 8, 5, 10, 1, 2, 3, 4],
        &[1; 40],
        &[5, 2, 1, 1],
    ];
    for options in cases {
        let segment = Tcp { options: options.to_vec(), ..client_segment() };
        let (_, tcp) = translated(&mut bench, &from_client(), &segment);
        assert_eq!(tcp, acked(&segment), "{options:?}");
    }
}

/// Where the backend refused scaling it takes the client's windows at their word.
#[test]
fn windows() {
    let mut bench = bench();
    for (client_scale, backend_scale, window, expected) in [
        (Some(7), Some(7), 500, 500),
        (Some(7), Some(2), 500, 500),
        (None, None, 500, 500),
        (Some(7), None, 500, 64_000),
        (Some(7), None, 512, 65_535),
        (Some(14), None, 65_535, 65_535),
        (Some(0), None, 777, 777),
        (Some(7), None, 0, 0),
        (Some(1), None, 1, 2),
    ] {
        bench.flows.remove(place::tuple());
        bench.install(&Splice { client_scale, backend_scale, ..splice() });
        let segment = Tcp { window, ..client_segment() };
        let (_, tcp) = translated(&mut bench, &from_client(), &segment);
        assert_eq!(tcp, Tcp { window: expected, ..acked(&segment) });
    }
}

#[test]
fn type_of_service_and_time_to_live() {
    let mut bench = bench();
    bench.install(&splice());
    let segment = client_segment();
    for tos in 0..=255 {
        let (ip, tcp) = translated(&mut bench, &Ip4 { tos, ..from_client() }, &segment);
        assert_eq!(ip, Ip6 { class: tos, hop_limit: 63, ..to_backend() });
        assert_eq!(tcp, acked(&segment));
    }
    for ttl in 2..=255 {
        let (ip, _) = translated(&mut bench, &Ip4 { ttl, ..from_client() }, &segment);
        assert_eq!(ip.hop_limit, ttl - 1);
    }
    for (fragment, id) in [(0, 0x1234), (DF, 0), (DF, 77), (0x8000, 5)] {
        let before = Ip4 { fragment, id, ..from_client() };
        let (ip, tcp) = translated(&mut bench, &before, &segment);
        assert_eq!((ip, tcp), (Ip6 { hop_limit: 63, ..to_backend() }, acked(&segment)));
    }
}

/// Bits that only the two ends understand.
#[test]
fn every_flag_passes() {
    let mut bench = bench();
    bench.install(&splice());
    for flags in (0..=255).filter(|flags| flags & flag::SYN == 0) {
        for reserved in [0, 1, 15] {
            let segment = Tcp { flags, reserved, urgent: 0x4321, ..client_segment() };
            let (_, tcp) = translated(&mut bench, &from_client(), &segment);
            assert_eq!(tcp, acked(&segment), "{flags:#x}");
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
        bench.uplink(&Tcp { flags, ..client_segment() }.over4(&from_client()));
        assert_eq!(bench.to_backend().closing, marks);
        bench.uplink(&client_segment().over4(&from_client()));
        assert_eq!(bench.to_backend().closing, marks & CLOSING_FIN, "who goes on has not reset");
        assert_eq!(bench.to_client().closing, 0);
    }
}

#[test]
fn batches() {
    let mut bench = bench();
    bench.install(&splice());
    let batch = Tcp { payload: vec![9; 3000], ..client_segment() };
    let packet = batch.over4(&from_client());
    let skb = Skb { gso_size: 1360, gso_segs: 3, ..Skb::default() };
    if translates_batches() {
        let seen = bench.uplink_frame(&unpadded(&packet), skb);
        assert_eq!(read6(seen.sent()).1, acked(&batch));
        assert_eq!(seen.traffic, [(Traffic::Nat46In, 3, packet.len() as u64)]);
        let flow = bench.to_backend();
        assert_eq!((flow.packets, flow.bytes), (3, packet.len() as u64));

        // Whoever batched it may not have counted.
        let seen = bench.uplink_frame(&unpadded(&packet), Skb { gso_segs: 0, ..skb });
        assert_eq!(seen.traffic, [(Traffic::Nat46In, 3, packet.len() as u64)]);
    }
    let skb = Skb { gso_size: 1361, ..skb };
    let seen = bench.uplink_frame(&unpadded(&packet), skb);
    assert_eq!(seen.fate, Fate::Dropped(DropReason::TooBig));
}

/// What is too big or has used up its hops: the daemon answers, and nothing of it counts for the flow.
#[test]
fn refused_with_an_answer() {
    let mut bench = bench();
    bench.install(&splice());
    let fits = MTU as usize - 60;
    let large = Tcp { payload: vec![3; fits + 1], ..client_segment() };
    let with_options =
        Tcp { options: vec![1; 12], payload: vec![3; fits - 11], ..client_segment() };
    for (segment, ttl, fragment, kind, reason) in [
        (&client_segment(), 1, DF, Upcall::HopLimit, DropReason::HopLimit),
        (&client_segment(), 0, DF, Upcall::HopLimit, DropReason::HopLimit),
        (&large, 1, DF, Upcall::HopLimit, DropReason::HopLimit),
        (&large, 64, DF, Upcall::TooBig, DropReason::TooBig),
        (&large, 64, 0, Upcall::TooBig, DropReason::TooBig),
        (&with_options, 64, DF, Upcall::TooBig, DropReason::TooBig),
    ] {
        let packet = segment.over4(&Ip4 { ttl, fragment, ..from_client() });
        let seen = bench.uplink(&packet);
        assert_eq!(seen.fate, Fate::Dropped(reason));
        assert_eq!(seen.handed(kind), packet);
    }
    assert_eq!(bench.to_backend().packets, 0);
    let whole = Tcp { payload: vec![3; fits], ..client_segment() };
    translated(&mut bench, &from_client(), &whole);
}

#[test]
fn a_site_without_a_tunnel() {
    let mut bench = bench();
    let mut splice = splice();
    splice.backend.site = 7;
    bench.install(&splice);
    let seen = bench.uplink(&client_segment().over4(&from_client()));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::SiteDown));
    splice.backend.site = u16::MAX;
    bench.flows.remove(place::tuple());
    bench.install(&splice);
    let seen = bench.uplink(&client_segment().over4(&from_client()));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::SiteDown));
}

/// A sum that was wrong stays wrong: the backend finds what the client would have.
#[test]
fn damage_is_not_hidden() {
    let mut bench = bench();
    bench.install(&splice());
    let mut packet = client_segment().over4(&from_client());
    packet[45] ^= 1;
    let sent = bench.uplink(&packet).sent().to_vec();
    assert!(std::panic::catch_unwind(|| read6(&sent)).is_err());
}
