//! A backend that takes less than its client was promised: the client is told, and nothing is held up.

use ingress::handshake::Splice;
use ingress_common::upcall::Upcall;

use crate::bench::{Bench, Fate, bench, now};
use crate::frame::Tcp;
use crate::place::{client_key, client_segment, from_client, splice};
use crate::test_run::{Skb, translates_batches};

/// Longer than the silence after which a client is told.
const A_WHILE: u64 = 200_000_000;

/// The flow of a backend with this MSS, which has heard nothing of its client for a while.
fn silent(bench: &mut Bench, announced: u16) {
    bench.flows.remove(crate::place::tuple());
    bench.install(&Splice { announced, ..splice() });
    let mut half = bench.to_backend();
    half.last_seen = now() - A_WHILE;
    bench.maps.to_backend.insert(client_key(), half, 0).unwrap();
}

#[test]
fn whoever_sends_more_than_the_backend_takes_is_told() {
    let mut bench = bench();
    for (announced, options, payload, told) in [
        (536, 0, 536, false),
        (536, 0, 537, true),
        // Options count (RFC 6691).
        (536, 12, 524, false),
        (536, 12, 525, true),
        (1220, 0, 1220, false),
        (1220, 0, 1221, true),
        (1360, 0, 1360, false),
        // Nobody takes less than this.
        (100, 0, 536, false),
        (100, 0, 537, true),
        (9000, 0, 1360, false),
    ] {
        silent(&mut bench, announced);
        let segment =
            Tcp { options: vec![1; options], payload: vec![7; payload], ..client_segment() };
        let packet = segment.over4(&from_client());
        let seen = bench.uplink(&packet);
        assert_eq!(seen.fate, Fate::Sent, "{announced} {payload}");
        if told {
            assert_eq!(seen.handed(Upcall::TooBig), packet, "{announced} {payload}");
        } else {
            assert!(seen.records.is_empty(), "{announced} {payload}");
        }
    }
}

#[test]
fn of_a_batch_its_segments_count() {
    if !translates_batches() {
        return;
    }
    let mut bench = bench();
    let segment = Tcp { payload: vec![7; 2680], ..client_segment() };
    let frame = crate::frame::ethernet(&segment.over4(&from_client()));
    for (gso_size, told) in [(536, 0), (1340, 1)] {
        silent(&mut bench, 536);
        let gso_segs = 2680u32.div_ceil(gso_size);
        let seen = bench.uplink_frame(&frame, Skb { gso_size, gso_segs, ..Skb::default() });
        assert_eq!((seen.fate, seen.records.len()), (Fate::Sent, told), "{gso_size}");
    }
}

#[test]
fn who_gets_through_is_told_nothing() {
    let mut bench = bench();
    silent(&mut bench, 536);
    let large = Tcp { payload: vec![7; 1360], ..client_segment() }.over4(&from_client());
    assert_eq!(bench.uplink(&large).records.len(), 1);
    let seen = bench.uplink(&large);
    assert_eq!((seen.fate, seen.records.len()), (Fate::Sent, 0));
    // Nor if there are no answers left.
    silent(&mut bench, 536);
    bench.grant_no_reports();
    let seen = bench.uplink(&large);
    assert_eq!((seen.fate, seen.records.len()), (Fate::Sent, 0));
}
