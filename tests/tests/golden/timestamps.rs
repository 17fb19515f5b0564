//! Timestamps: our clock in the SYN-ACK, and the backend's clock, which an established flow shifts.

use std::thread::sleep;
use std::time::Duration;

use ingress::handshake::Splice;
use ingress_common::maps::{Listener, Offer};
use ingress_common::verdict::DropReason;

use crate::bench::{Bench, Fate, bench};
use crate::frame::{Tcp, flag, read4, read6, unpadded};
use crate::place::{
    self, BACKEND_ISN, CLIENT_ISN, COOKIE, LISTEN, PROMISE, backend_segment, client_segment,
    from_backend, from_client, splice,
};
use crate::test_run::{Skb, translates_batches};

const DELTA: u32 = COOKIE.wrapping_sub(BACKEND_ISN);
const TS_DELTA: u32 = 0xfffe_dcba;
/// Where nothing, one octet and more stand between the options.
const FILLINGS: [&[u8]; 4] = [&[], &[1], &[1, 1], &[253, 5, 8, 10, 3]];

fn stamped() -> Splice {
    Splice { ts_delta: Some(TS_DELTA), ..splice() }
}

fn stamps(value: u32, echo: u32) -> Vec<u8> {
    [&[8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat()
}

fn sack(edges: &[u32]) -> Vec<u8> {
    let mut option = vec![5, 2 + 4 * edges.len() as u8];
    edges.iter().for_each(|edge| option.extend(edge.to_be_bytes()));
    option
}

fn padded(parts: &[&[u8]]) -> Vec<u8> {
    let mut area = parts.concat();
    area.resize(area.len().next_multiple_of(4), 0);
    area
}

#[track_caller]
fn expect_to_backend(bench: &mut Bench, sent: Vec<u8>, arrives: Vec<u8>) {
    let segment = Tcp { options: sent, ..client_segment() };
    let (_, tcp) = read6(bench.uplink(&segment.over4(&from_client())).sent());
    assert_eq!(tcp, Tcp { options: arrives, ack: tcp.ack, ..segment.clone() });
    assert_eq!(tcp.ack, segment.ack.wrapping_sub(DELTA));
}

#[track_caller]
fn expect_to_client(bench: &mut Bench, sent: Vec<u8>, arrives: Vec<u8>) {
    let segment = Tcp { options: sent, ..backend_segment() };
    let (_, tcp) = read4(bench.tunnel(&segment.over6(&from_backend())).sent());
    assert_eq!(tcp, Tcp { options: arrives, seq: tcp.seq, ..segment.clone() });
    assert_eq!(tcp.seq, segment.seq.wrapping_add(DELTA));
}

#[test]
fn at_every_place_among_the_options() {
    let mut bench = bench();
    bench.install(&stamped());
    let edges = [7, 9, u32::MAX, 3, DELTA, DELTA - 1];
    let moved = edges.map(|edge| edge.wrapping_sub(DELTA));
    for nops in 0..=30 {
        let before = vec![1; nops];
        for filling in FILLINGS {
            for blocks in 0..=3 {
                let sack =
                    |edges: &[u32]| if blocks == 0 { vec![] } else { sack(&edges[..2 * blocks]) };
                for sack_first in [false, true] {
                    let area = |stamps: Vec<u8>, edges: &[u32]| {
                        let sack = sack(edges);
                        if sack_first {
                            padded(&[&before, &sack, filling, &stamps])
                        } else {
                            padded(&[&before, &stamps, filling, &sack])
                        }
                    };
                    let sent = area(stamps(1, 2), &edges);
                    if sent.len() > 40 {
                        continue;
                    }
                    let there = area(stamps(1, 2u32.wrapping_sub(TS_DELTA)), &moved);
                    expect_to_backend(&mut bench, sent.clone(), there);
                    let back = area(stamps(1u32.wrapping_add(TS_DELTA), 2), &edges);
                    expect_to_client(&mut bench, sent, back);
                }
            }
        }
    }
}

#[test]
fn clocks_wrap() {
    let mut bench = bench();
    for ts_delta in [0, 1, u32::MAX, 0x8000_0000, 0xffff, 0x1_0000] {
        bench.flows.remove(place::tuple());
        bench.install(&Splice { ts_delta: Some(ts_delta), ..splice() });
        for reading in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX] {
            let area = |value, echo| padded(&[&[1, 1], &stamps(value, echo)]);
            let there = area(5, reading.wrapping_sub(ts_delta));
            expect_to_backend(&mut bench, area(5, reading), there);
            let back = area(reading.wrapping_add(ts_delta), 5);
            expect_to_client(&mut bench, area(reading, 5), back);
        }
    }
}

#[test]
fn what_is_no_timestamp_stands() {
    let mut bench = bench();
    bench.install(&stamped());
    let cases: [&[u8]; 8] = [
        &[0, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[1, 1, 8, 9, 1, 2, 3, 4, 5, 6, 7, 0],
        &[1, 1, 8, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0],
        &[1, 1, 8, 10, 1, 2, 3, 4],
        &[1, 1, 1, 8],
        &[8, 0, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[253, 12, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[8, 1, 8, 10],
    ];
    for options in cases {
        expect_to_backend(&mut bench, options.to_vec(), options.to_vec());
        expect_to_client(&mut bench, options.to_vec(), options.to_vec());
    }
    // The second is nobody's.
    let twice = |value, echo| padded(&[&stamps(value, echo), &stamps(3, 4)]);
    let there = twice(1, 2u32.wrapping_sub(TS_DELTA));
    expect_to_backend(&mut bench, twice(1, 2), there);
    expect_to_client(&mut bench, twice(1, 2), twice(1u32.wrapping_add(TS_DELTA), 2));
}

#[test]
fn an_echo_without_an_acknowledgment_means_nothing() {
    let mut bench = bench();
    bench.install(&stamped());
    let options = padded(&[&[1, 1], &stamps(7, 0)]);
    let reset = Tcp { flags: flag::RST, ack: 0, payload: vec![], options, ..client_segment() };
    let (_, tcp) = read6(bench.uplink(&reset.over4(&from_client())).sent());
    assert_eq!(tcp.options, reset.options);
}

#[test]
fn without_an_agreement_options_stand() {
    let mut bench = bench();
    bench.install(&splice());
    for options in [padded(&[&[1, 1], &stamps(1, 2)]), padded(&[&[1], &stamps(1, 2)])] {
        expect_to_backend(&mut bench, options.clone(), options.clone());
        expect_to_client(&mut bench, options.clone(), options);
    }
}

/// A SYN-ACK that comes once more, since its answer was lost.
#[test]
fn a_late_syn_ack() {
    let mut bench = bench();
    bench.install(&stamped());
    let options = |value| padded(&[&[2, 4, 5, 160, 4, 2], &stamps(value, 9), &[1, 3, 3, 7]]);
    let flags = flag::SYN | flag::ACK;
    let again = Tcp { flags, options: options(4), payload: vec![], ..backend_segment() };
    let (_, tcp) = read4(bench.tunnel(&again.over6(&from_backend())).sent());
    assert_eq!(tcp.options, options(4u32.wrapping_add(TS_DELTA)));
}

#[test]
fn batches() {
    let mut bench = bench();
    bench.install(&stamped());
    let options = |value, echo| padded(&[&[1, 1], &stamps(value, echo)]);
    let skb = Skb { gso_size: 1348, gso_segs: 3, ..Skb::default() };
    let batch = Tcp { payload: vec![9; 3000], options: options(1, 2), ..client_segment() };
    let seen = bench.uplink_frame(&unpadded(&batch.over4(&from_client())), skb);
    if !translates_batches() {
        assert_eq!(seen.fate, Fate::Dropped(DropReason::KernelRefused));
        return;
    }
    assert_eq!(read6(seen.sent()).1.options, options(1, 2u32.wrapping_sub(TS_DELTA)));
    let batch = Tcp { payload: vec![9; 3000], options: options(1, 2), ..backend_segment() };
    let seen = bench.tunnel_frame(&unpadded(&batch.over6(&from_backend())), skb);
    assert_eq!(read4(seen.sent()).1.options, options(1u32.wrapping_add(TS_DELTA), 2));
}

fn syn(port: u16) -> Tcp {
    Tcp {
        source: port,
        seq: CLIENT_ISN,
        ack: 0,
        flags: flag::SYN,
        options: padded(&[&[1, 1], &stamps(0x0102_0304, 0)]),
        payload: Vec::new(),
        ..client_segment()
    }
}

/// Our clock in the answer to a SYN, if there is one.
#[track_caller]
fn shown(bench: &mut Bench, port: u16) -> Option<u32> {
    let (_, tcp) = read4(bench.uplink(&syn(port).over4(&from_client())).sent());
    let at = tcp.options.windows(4).position(|four| four == [1, 1, 8, 10])?;
    assert_eq!(tcp.options[at + 8..at + 12], [1, 2, 3, 4], "the client's clock comes back");
    Some(u32::from_be_bytes(tcp.options[at + 4..at + 8].try_into().unwrap()))
}

#[test]
fn our_clock_counts_milliseconds_from_anywhere() {
    let mut bench = bench();
    let first = shown(&mut bench, 1000).unwrap();
    sleep(Duration::from_millis(50));
    let passed = shown(&mut bench, 1000).unwrap().wrapping_sub(first);
    assert!((50..10_000).contains(&passed), "{passed} ms");
    let mut all: Vec<u32> = (1001..1033).map(|port| shown(&mut bench, port).unwrap()).collect();
    all.sort_unstable();
    let near = all.windows(2).filter(|two| two[1] - two[0] < 1 << 16).count();
    assert!(near < 3, "each tuple has a clock of its own: {all:?}");
}

#[test]
fn a_listener_may_promise_none() {
    let mut bench = bench();
    for (offer, promised) in [(Offer::Off, false), (Offer::On, true), (Offer::Withdrawn, false)] {
        let listener = Listener { timestamps: offer as u8, ..PROMISE };
        bench.listeners.replace(&[(place::listener_key(LISTEN), listener)].into()).unwrap();
        assert_eq!(shown(&mut bench, 1000).is_some(), promised, "{offer:?}");
    }
}
