//! What each verdict costs, against what a packet costs that the programs leave alone. No absolute times: a
//! machine may be slow. The bounds are four times what was measured, for machines that are busy as well.
//!
//! `cargo test --test golden -- --nocapture speed` prints the numbers.

use std::time::Duration;

use ingress::handshake::Splice;
use ingress_common::cookie;
use ingress_common::tcp::{Seq, SynOptions};

use crate::bench::{Bench, bench, now};
use crate::frame::{Ip4, Ip6, Tcp, UDP, flag, unpadded};
use crate::place::{
    BACKEND, CLIENT_ISN, KEYS, WORLD, backend_segment, client_key, client_segment, from_backend,
    from_client, splice,
};
use crate::test_run::Skb;

/// A packet that stays as it is can be run again; of one that is changed, each run needs a new one.
const AGAIN: u32 = 10_000;
const ANEW: usize = 1_000;
/// The best of some is the least disturbed.
const ROUNDS: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Uplink,
    Tunnel,
}

#[test]
fn every_verdict_costs_what_it_did() {
    let mut bench = bench();
    let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
    let outward = Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() };
    let minted = cookie::mint(&KEYS, now(), &client_key(), Seq(CLIENT_ISN), &SynOptions::default());
    let bare = |ack: u32| Tcp { ack, flags: flag::ACK, payload: vec![], ..client_segment() };
    let syn = Tcp {
        flags: flag::SYN,
        payload: vec![],
        options: vec![2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 8],
        ..client_segment()
    };
    let (up, down) = (Side::Uplink, Side::Tunnel);

    let odd = Tcp { payload: vec![1], ..syn.clone() };
    let unlisted = Tcp { destination: 22, ..bare(0) }.over4(&from_client());
    let spoofed = Ip6 { source: *BACKEND.ip(), ..inward.clone() };
    let base = again(&mut bench, up, &unlisted);
    println!("{base:>8} ns  left to the kernel, the same packet again and again");
    for (name, most, side, packet) in [
        ("kernel: hop limit 1", 5, up, Ip6 { hop_limit: 1, ..inward.clone() }.around(UDP, &[0; 8])),
        ("drop: spoofed", 5, up, spoofed.around(UDP, &[0; 8])),
        ("drop: odd SYN", 5, up, odd.over4(&from_client())),
        ("absorb: valid cookie", 9, up, bare(minted.plus(1).0).over4(&from_client())),
        ("drop: wrong cookie, rationed", 17, up, bare(5).over4(&from_client())),
        ("drop: no flow, rationed", 9, down, backend_segment().over6(&from_backend())),
    ] {
        compare(name, again(&mut bench, side, &packet), base, most);
    }

    bench.install(&Splice { ts_delta: Some(0x1234_5678), ..splice() });
    let stamps = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let stranger = Tcp { source: 77, ..syn };
    let sack = [&[1, 1, 5, 26][..], &[9; 24]].concat();
    let (inward_syn, ip4) = (vec![2, 4, 5, 180], Ip4 { ttl: 50, ..from_client() });
    let inward_syn = Tcp { flags: flag::SYN, options: inward_syn, ..bare(0) };
    let full = Tcp { payload: vec![0; 1300], ..backend_segment() };
    let stamped = Tcp { options: stamps.clone(), ..client_segment() };
    let stamped_sack = Tcp { options: [&stamps[..], &sack[..]].concat(), ..client_segment() };
    let full_stamped = Tcp { options: stamps, ..full.clone() };
    let base = anew(&mut bench, up, &unlisted);
    println!("{base:>8} ns  left to the kernel, each packet anew; the clock itself is in it");
    for (name, most, side, packet) in [
        ("IPv6 in", 5, up, inward.around(UDP, &[0; 1000])),
        ("IPv6 out", 5, down, outward.around(UDP, &[0; 1000])),
        ("IPv6 in, SYN", 8, up, inward_syn.over6(&inward)),
        ("NAT46 in", 10, up, client_segment().over4(&from_client())),
        ("NAT46 in, SACK", 12, up, Tcp { options: sack, ..client_segment() }.over4(&from_client())),
        ("NAT46 in, timestamps", 12, up, stamped.over4(&from_client())),
        ("NAT46 in, timestamps and SACK", 14, up, stamped_sack.over4(&from_client())),
        ("NAT46 out, timestamps", 12, down, full_stamped.over6(&from_backend())),
        ("NAT46 out", 11, down, full.over6(&from_backend())),
        ("SYN answered", 16, up, stranger.over4(&ip4)),
    ] {
        compare(name, anew(&mut bench, side, &packet), base, most);
    }
}

#[track_caller]
fn compare(name: &str, nanos: u128, base: u128, most: u128) {
    println!("{nanos:>8} ns  {:.1} of {most}  {name}", nanos as f64 / base as f64);
    assert!(nanos <= most * base, "{name}: {nanos} ns, {base} ns for a packet left alone");
}

/// The mean of many runs on one packet.
fn again(bench: &mut Bench, side: Side, packet: &[u8]) -> u128 {
    let rounds = (0..ROUNDS).map(|_| run(bench, side, packet, AGAIN).as_nanos());
    rounds.min().unwrap_or_default().max(1)
}

/// The median of single runs.
fn anew(bench: &mut Bench, side: Side, packet: &[u8]) -> u128 {
    let mut all: Vec<Duration> = (0..ANEW).map(|_| run(bench, side, packet, 1)).collect();
    all.sort_unstable();
    all[ANEW / 2].as_nanos().max(1)
}

fn run(bench: &mut Bench, side: Side, packet: &[u8], repeat: u32) -> Duration {
    let skb = Skb { repeat, ..Skb::default() };
    bench.time(side == Side::Uplink, &unpadded(packet), skb)
}
