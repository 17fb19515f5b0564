//! What strangers can take from the daemon: so many answers, and so much room in its ring.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use ingress::handshake::{Backend, Splice};
use ingress_common::cookie;
use ingress_common::ip::ICMPV6;
use ingress_common::maps::ClientKey;
use ingress_common::tcp::{Seq, SynOptions};
use ingress_common::upcall::Upcall;
use ingress_common::verdict::DropReason;

use crate::bench::{Bench, Fate, bench, now};
use crate::frame::{Ip4, Ip6, Tcp, ethernet};
use crate::place::{
    BACKEND, CLIENT, CLIENT_ISN, KEYS, LISTEN, SOURCE, backend_key, backend_segment, client_key,
    client_segment, from_backend, from_client, splice, to_backend,
};
use crate::test_run::Skb;

/// One client cannot make the daemon talk without end, nor keep its answers from others for long.
#[test]
fn answers_are_rationed() {
    let mut bench = bench();
    bench.grant_answers(0);
    let packet = client_segment().over4(&from_client());
    let mut asked = 0;
    let begun = now();
    let mut refused = 0;
    for _ in 0..2000 {
        let seen = bench.uplink(&packet);
        if seen.fate == Fate::Dropped(DropReason::NoFlow) {
            assert_eq!(seen.handed(Upcall::ResetClient), packet);
            asked += 1;
        } else {
            assert_eq!(seen.fate, Fate::Dropped(DropReason::RateLimited));
            assert!(seen.records.is_empty());
            refused += 1;
        }
    }
    let earned = (now() - begun) / 1_000_000 + 1;
    assert!(asked <= earned, "{asked} answers, {earned} earned");
    // An emulated machine may be too slow to ask for more than it earns.
    assert!(refused > 0 || earned > 2000, "{asked} answers, {earned} earned");
}

/// At first there is a burst of them.
#[test]
fn a_burst_of_answers() {
    let mut bench = bench();
    let packet = backend_segment().over6(&from_backend());
    for _ in 0..200 {
        assert_eq!(bench.tunnel(&packet).handed(Upcall::ResetBackend), packet);
    }
}

/// What asks for an answer, one of each.
#[test]
fn without_tokens_nobody_is_answered() {
    let mut bench = bench();
    bench.install(&splice());
    let cases: [(&str, Vec<u8>); 3] = [
        ("hop limit", client_segment().over4(&Ip4 { ttl: 1, ..from_client() })),
        ("too big", Tcp { payload: vec![0; 1400], ..client_segment() }.over4(&from_client())),
        ("no cookie", Tcp { source: 9, ..client_segment() }.over4(&from_client())),
    ];
    for (name, packet) in cases {
        bench.grant_no_answers();
        bench.grant_no_reports();
        let seen = bench.uplink_frame(&ethernet(&packet), Skb::default());
        assert_eq!(seen.fate, Fate::Dropped(DropReason::RateLimited), "{name}");
        assert!(seen.records.is_empty(), "{name}");
    }
}

/// What a flow learns of its path does not depend on how many strangers there are.
#[test]
fn strangers_take_nothing_from_flows() {
    let mut bench = bench();
    bench.install(&splice());
    bench.grant_no_answers();
    let stranger = Tcp { source: 9, ..client_segment() }.over4(&from_client());
    assert_eq!(bench.uplink(&stranger).fate, Fate::Dropped(DropReason::RateLimited));
    let last = client_segment().over4(&Ip4 { ttl: 1, ..from_client() });
    for _ in 0..50 {
        assert_eq!(bench.uplink(&last).handed(Upcall::HopLimit), last);
    }
}

/// Nor on what a client elsewhere does to flows of its own.
#[test]
fn flows_of_others_take_nothing_from_flows() {
    let mut bench = bench();
    bench.install(&splice());
    let far = SocketAddrV4::new([203, 0, 114, 9].into(), 40_000);
    let far_source = "64:ff9b:1::cb00:7209".parse().unwrap();
    bench.install_for(
        far,
        &Splice { backend: Backend { source: far_source, ..splice().backend }, ..splice() },
    );
    let last =
        |client: Ipv4Addr| client_segment().over4(&Ip4 { source: client, ttl: 1, ..from_client() });
    let about = |source: Ipv6Addr| {
        let quoted = client_segment().over6(&Ip6 { source, ..to_backend() });
        let error = [&[2, 0, 0, 0, 0, 0, 5, 0][..], &quoted].concat();
        Ip6 { source: *BACKEND.ip(), destination: SOURCE, ..Ip6::default() }.around(ICMPV6, &error)
    };
    // Errors about its flow, and packets of it, share what its neighbourhood has.
    let begun = now();
    let mut greedy = 0u64;
    for _ in 0..1000 {
        greedy += u64::from(bench.tunnel(&about(far_source)).fate == Fate::Handed);
        let seen = bench.uplink(&last(*far.ip()));
        greedy += u64::from(seen.fate == Fate::Dropped(DropReason::HopLimit));
    }
    let earned = 50 + (now() - begun) / 10_000_000 + 1;
    assert!((50..=earned).contains(&greedy), "{greedy} reports, {earned} earned");

    // All that one learns by: what is too big here, on the way to the client, and on the way to the backend.
    assert_eq!(bench.uplink(&last(*CLIENT.ip())).fate, Fate::Dropped(DropReason::HopLimit));
    let large = Tcp { payload: vec![0; 1400], ..client_segment() }.over4(&from_client());
    assert_eq!(bench.uplink(&large).fate, Fate::Dropped(DropReason::TooBig));
    assert_eq!(bench.tunnel(&about(SOURCE)).fate, Fate::Handed);
}

/// A hello that came in one piece takes as much of the ring as ten small ones, and counts so.
#[test]
fn large_segments_take_a_larger_share() {
    let mut bench = bench();
    let options = SynOptions::default();
    let cookie = cookie::mint(&KEYS, now(), &client_key(), Seq(CLIENT_ISN), &options);
    let hello = Tcp { ack: cookie.plus(1).0, payload: vec![22; 3000], ..client_segment() };
    let packet = hello.over4(&from_client());
    let begun = now();
    let handed = (0..400).filter(|_| bench.uplink(&packet).fate == Fate::Handed).count() as u64;
    let earned = 1024 + (now() - begun) / 250_000 + 1;
    assert!(handed > 100 && handed * 8 <= earned, "{handed}, {earned} earned");
}

/// Whoever must go up and does not fit is dropped, and comes again: it was acknowledged by nobody.
#[test]
fn a_full_ring() {
    let mut bench = bench();
    let options = SynOptions::default();
    let cookie = cookie::mint(&KEYS, now(), &client_key(), Seq(CLIENT_ISN), &options);
    let hello = Tcp { ack: cookie.plus(1).0, ..client_segment() }.over4(&from_client());
    let expect_overflow = |bench: &mut Bench, packet: &[u8], up: bool| {
        bench.fill_ring();
        let seen = if up { bench.uplink(packet) } else { bench.tunnel(packet) };
        assert_eq!(seen.fate, Fate::Dropped(DropReason::UpcallOverflow));
        let seen = if up { bench.uplink(packet) } else { bench.tunnel(packet) };
        assert_eq!(seen.records.len(), 1, "there is room again");
    };
    expect_overflow(&mut bench, &hello, true);
    let stranger = Tcp { source: 9, ..client_segment() }.over4(&from_client());
    expect_overflow(&mut bench, &stranger, true);
    bench.marks.expect(&backend_key(), now()).unwrap();
    expect_overflow(&mut bench, &backend_segment().over6(&from_backend()), false);
}

/// One neighbourhood of clients fills at most a quarter of the ring, and costs the others nothing.
#[test]
fn neighbourhoods_are_rationed() {
    let mut bench = bench();
    let limited = |bench: &mut Bench, client: [u8; 4], packets: u32| -> u64 {
        let options = SynOptions::default();
        let key = ClientKey::new(
            client,
            5000u16.to_be_bytes(),
            LISTEN.ip().octets(),
            443u16.to_be_bytes(),
        );
        let cookie = cookie::mint(&KEYS, now(), &key, Seq(CLIENT_ISN), &options);
        let hello = Tcp { source: 5000, ack: cookie.plus(1).0, ..client_segment() };
        let packet = hello.over4(&Ip4 { source: client.into(), ..from_client() });
        let begun = now();
        let seen = (0..packets).filter(|_| {
            let fate = bench.uplink(&packet).fate;
            assert!(matches!(fate, Fate::Handed | Fate::Dropped(DropReason::RateLimited)));
            fate != Fate::Handed
        });
        let limited = seen.count() as u64;
        let earned = 1024 + (now() - begun) / 250_000 + 1;
        assert!(u64::from(packets) - limited <= earned, "{limited} of {packets}, {earned} earned");
        limited
    };
    let first = limited(&mut bench, [203, 0, 113, 9], 200);
    assert_eq!(first, 0, "there is a burst");
    // An emulated machine may be too slow to use it up.
    let (begun, more) = (now(), limited(&mut bench, [203, 0, 113, 10], 20_000));
    assert!(more > 0 || now() - begun > 2_000_000_000, "{more}: neighbours share");
    assert_eq!(limited(&mut bench, [203, 0, 114, 9], 200), 0, "others have their own");
}
