//! The daemon may ask to be told when a backend has acknowledged what the daemon owes it.

use ingress::handshake::Splice;
use ingress_common::tcp::Seq;
use ingress_common::upcall::Upcall;
use ingress_common::verdict::Traffic;

use crate::bench::{Bench, Fate, Seen, bench};
use crate::frame::{Tcp, flag, read4, unpadded};
use crate::place::{self, backend_segment, from_backend, splice};
use crate::test_run::Skb;

/// How far beyond the watched number an acknowledgment is believed.
const RANGE: u32 = Splice::WATCH_RANGE;

fn watch(bench: &mut Bench, number: u32) {
    bench.flows.remove(place::tuple());
    bench.install(&Splice { watch: Some(Seq(number)), ..splice() });
}

fn acknowledge(bench: &mut Bench, ack: u32) -> Seen {
    bench.tunnel(&Tcp { ack, ..backend_segment() }.over6(&from_backend()))
}

#[test]
fn reported_once_and_translated_all_the_same() {
    let mut bench = bench();
    for watched in [1000, 0, 1, u32::MAX, 0x8000_0000] {
        watch(&mut bench, watched);
        for short in [1, 2, 500, 0x7fff_ffff] {
            let seen = acknowledge(&mut bench, watched.wrapping_sub(short));
            assert_eq!(seen.fate, Fate::Sent);
            assert!(seen.records.is_empty(), "{watched}, short by {short}");
        }
        let segment = Tcp { ack: watched, ..backend_segment() };
        let packet = segment.over6(&from_backend());
        let seen = bench.tunnel(&packet);
        assert_eq!(seen.handed(Upcall::Acknowledged), packet, "as the backend sent it");
        assert_eq!(read4(seen.sent()).1.payload, segment.payload);
        assert_eq!(seen.traffic.len(), 1);
        assert_eq!(seen.traffic[0].0, Traffic::Nat46Out);
        assert_eq!(bench.to_client().watching, 0);
        assert!(acknowledge(&mut bench, watched).records.is_empty(), "once");
    }
}

/// An older connection on the backend's tuple may still speak; its numbers lie anywhere.
#[test]
fn only_plausible_acknowledgments_are_believed() {
    let mut bench = bench();
    for watched in [1000, u32::MAX - 10] {
        for (ahead, believed) in [
            (0, true),
            (1, true),
            (1 << 20, true),
            (RANGE - 1, true),
            (RANGE, false),
            (RANGE + 1, false),
            (0x7fff_ffff, false),
            (0x8000_0000, false),
            (u32::MAX, false),
        ] {
            watch(&mut bench, watched);
            let seen = acknowledge(&mut bench, watched.wrapping_add(ahead));
            assert_eq!(seen.fate, Fate::Sent);
            assert_eq!(!seen.records.is_empty(), believed, "{watched} and {ahead}");
            assert_eq!(bench.to_client().watching, u8::from(!believed), "it goes on otherwise");
        }
    }
}

#[test]
fn only_acknowledgments_count() {
    let mut bench = bench();
    watch(&mut bench, 1000);
    for flags in [0, flag::RST, flag::SYN, flag::FIN | flag::PSH] {
        let segment = Tcp { flags, ack: 1000, ..backend_segment() };
        let seen = bench.tunnel(&segment.over6(&from_backend()));
        assert_eq!((seen.fate, seen.records.len()), (Fate::Sent, 0), "{flags:#x}");
    }
    for flags in [flag::ACK, flag::ACK | flag::FIN, flag::ACK | flag::RST] {
        watch(&mut bench, 1000);
        let bare = Tcp { flags, ack: 1000, payload: vec![], ..backend_segment() };
        let seen = bench.tunnel(&bare.over6(&from_backend()));
        assert_eq!((seen.fate, seen.records.len()), (Fate::Sent, 1), "{flags:#x}");
    }
}

/// The daemon relies on the report: while there is no room for it, the watch goes on.
#[test]
fn a_full_ring_keeps_the_watch_on() {
    let mut bench = bench();
    watch(&mut bench, 1000);
    bench.fill_ring();
    let seen = acknowledge(&mut bench, 1000);
    assert_eq!(seen.fate, Fate::Sent);
    assert!(seen.records.iter().all(|record| record.kind == Upcall::Client), "the filling");
    assert_eq!(bench.to_client().watching, 1);
    let seen = acknowledge(&mut bench, 1000);
    assert_eq!((seen.fate, seen.records.len()), (Fate::Sent, 1));
}

/// A report that came too late to be sent is no reason to keep the packet.
#[test]
fn what_is_refused_is_not_reported() {
    let mut bench = bench();
    watch(&mut bench, 1000);
    let batch = Tcp { ack: 1000, payload: vec![1; 3000], ..backend_segment() };
    let skb = Skb { gso_size: 1461, gso_segs: 3, ..Skb::default() };
    let seen = bench.tunnel_frame(&unpadded(&batch.over6(&from_backend())), skb);
    assert_eq!(seen.records.len(), 1);
    assert_eq!(seen.records[0].kind, Upcall::TooBig);
    assert_eq!(bench.to_client().watching, 1);
}
