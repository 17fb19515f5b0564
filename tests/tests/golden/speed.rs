//! What each verdict costs. Nothing is asserted: `cargo test --test golden -- --ignored --nocapture speed`.

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
const AGAIN: u32 = 100_000;
const ANEW: usize = 5_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Uplink,
    Tunnel,
}

#[test]
#[ignore = "a measurement"]
fn nanoseconds_per_packet() {
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

    println!("the same packet {AGAIN} times, mean");
    let odd = Tcp { payload: vec![1], ..syn.clone() };
    for (name, side, packet) in [
        ("kernel: unlisted port", up, Tcp { destination: 22, ..bare(0) }.over4(&from_client())),
        ("kernel: hop limit 1", up, Ip6 { hop_limit: 1, ..inward.clone() }.around(UDP, &[0; 8])),
        ("drop: spoofed", up, Ip6 { source: *BACKEND.ip(), ..inward.clone() }.around(UDP, &[0; 8])),
        ("drop: odd SYN", up, odd.over4(&from_client())),
        ("absorb: valid cookie", up, bare(minted.plus(1).0).over4(&from_client())),
        ("drop: wrong cookie, rationed", up, bare(5).over4(&from_client())),
        ("drop: no flow, rationed", down, backend_segment().over6(&from_backend())),
    ] {
        let each = run(&mut bench, side, &packet, AGAIN);
        println!("{:>8} ns  {name}", each.as_nanos());
    }

    println!("{ANEW} packets, one by one, median and best; the clock itself is in it");
    let sack = [&[1, 1, 5, 26][..], &[9; 24]].concat();
    let ts_delta = Some(0x1234_5678);
    bench.install(&Splice { ts_delta, ..splice() });
    let stamps = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let stamped_sack = [&stamps[..], &sack[..]].concat();
    let stranger = Tcp { source: 77, ..syn };
    for (name, side, packet) in [
        ("kernel, for comparison", up, Tcp { destination: 22, ..bare(0) }.over4(&from_client())),
        ("IPv6 in", up, inward.around(UDP, &[0; 1000])),
        ("IPv6 out", down, outward.around(UDP, &[0; 1000])),
        (
            "IPv6 in, SYN",
            up,
            Tcp { flags: flag::SYN, options: vec![2, 4, 5, 180], ..bare(0) }.over6(&inward),
        ),
        ("NAT46 in", up, client_segment().over4(&from_client())),
        ("NAT46 in, SACK", up, Tcp { options: sack, ..client_segment() }.over4(&from_client())),
        (
            "NAT46 in, timestamps",
            up,
            Tcp { options: stamps.clone(), ..client_segment() }.over4(&from_client()),
        ),
        (
            "NAT46 in, timestamps and SACK",
            up,
            Tcp { options: stamped_sack, ..client_segment() }.over4(&from_client()),
        ),
        (
            "NAT46 out, timestamps",
            down,
            Tcp { options: stamps, payload: vec![0; 1300], ..backend_segment() }
                .over6(&from_backend()),
        ),
        (
            "NAT46 out",
            down,
            Tcp { payload: vec![0; 1300], ..backend_segment() }.over6(&from_backend()),
        ),
        ("SYN answered", up, stranger.over4(&Ip4 { ttl: 50, ..from_client() })),
    ] {
        let mut all: Vec<Duration> = (0..ANEW).map(|_| run(&mut bench, side, &packet, 1)).collect();
        all.sort_unstable();
        println!("{:>8} ns {:>6}  {name}", all[ANEW / 2].as_nanos(), all[0].as_nanos());
    }
}

fn run(bench: &mut Bench, side: Side, packet: &[u8], repeat: u32) -> Duration {
    let skb = Skb { repeat, ..Skb::default() };
    bench.time(side == Side::Uplink, &unpadded(packet), skb)
}
