//! Packets that the device has summed up as a whole (`CHECKSUM_COMPLETE`): whatever the programs change,
//! that sum has to follow, or the next receiver on this machine takes the packet for damaged.
//!
//! The test run itself compares. It does so even after a change of the packet's length, with which the
//! kernel gives the sum up: so nothing here is padded, and every SYN is as long as its answer.

use crate::bench::{Bench, Fate, bench};
use crate::frame::{Ip4, Ip6, Tcp, UDP, flag, unpadded};
use crate::place::{
    BACKEND, WORLD, backend_segment, client_segment, from_backend, from_client, splice,
};
use crate::test_run::Skb;

const SUMMED: Skb = Skb { gso_size: 0, gso_segs: 0, ifindex: 1, summed: true, repeat: 1 };

#[track_caller]
fn uplink(bench: &mut Bench, packet: &[u8]) {
    assert_eq!(bench.uplink_frame(&unpadded(packet), SUMMED).fate, Fate::Sent);
}

#[track_caller]
fn tunnel(bench: &mut Bench, packet: &[u8]) {
    assert_eq!(bench.tunnel_frame(&unpadded(packet), SUMMED).fate, Fate::Sent);
}

#[test]
fn a_forwarded_packet() {
    let mut bench = bench();
    let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
    let outward = Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() };
    for hop_limit in [2, 64, 255] {
        uplink(&mut bench, &Ip6 { hop_limit, ..inward.clone() }.around(UDP, &[3; 21]));
        tunnel(&mut bench, &Ip6 { hop_limit, ..outward.clone() }.around(UDP, &[3; 21]));
    }
    for nops in 0..4 {
        let mut options = [vec![1; nops], vec![2, 4, 0x23, 0]].concat();
        options.resize(8, 0);
        let syn = Tcp { flags: flag::SYN, options, ..Tcp::default() };
        uplink(&mut bench, &syn.over6(&inward));
        tunnel(&mut bench, &syn.over6(&outward));
    }
}

#[test]
fn a_spliced_segment() {
    let mut bench = bench();
    let ts_delta = Some(0x1234_5678);
    bench.install(&ingress::handshake::Splice { backend_scale: None, ts_delta, ..splice() });
    for len in [0, 1, 2, 99, 1000] {
        let sack = [1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1];
        let there = Tcp { payload: vec![len as u8; len], options: sack.into(), ..client_segment() };
        uplink(&mut bench, &there.over4(&Ip4 { tos: 0xb8, ..from_client() }));
        for options in
            [[1, 1, 8, 10, 9, 9, 9, 9, 7, 7, 7, 7], [1, 8, 10, 9, 9, 9, 9, 7, 7, 7, 7, 0]]
        {
            let there = Tcp { options: options.into(), ..there.clone() };
            uplink(&mut bench, &there.over4(&from_client()));
            let back = Tcp { options: options.into(), ..backend_segment() };
            tunnel(&mut bench, &back.over6(&from_backend()));
        }
        let back = Tcp { payload: vec![len as u8; len], ..backend_segment() };
        let ip = Ip6 { class: 0xb8, flow_label: 0x1_2345, ..from_backend() };
        tunnel(&mut bench, &back.over6(&ip));
    }
}

#[test]
fn an_answered_syn() {
    let mut bench = bench();
    let areas: [&[u8]; 5] = [
        &[2, 4, 5, 180],
        &[8, 2, 1, 1],
        &[2, 4, 5, 180, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0],
        &[2, 4, 5, 180, 1, 1, 4, 2],
        &[4, 2, 2, 4, 5, 180, 3, 3, 9, 1, 1, 0],
    ];
    for options in areas {
        let options = options.to_vec();
        let syn = Tcp { flags: flag::SYN, ack: 0, options, payload: vec![], ..client_segment() };
        uplink(&mut bench, &syn.over4(&Ip4 { tos: 0x10, ttl: 3, ..from_client() }));
    }
}
