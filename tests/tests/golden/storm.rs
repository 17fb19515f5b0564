//! Acknowledgments that go back and forth for ever, and those that only look so.

use std::thread;
use std::time::{Duration, Instant};

use ingress_common::verdict::DropReason;

use crate::bench::{Bench, Fate, bench};
use crate::frame::{Tcp, flag};
use crate::place::{backend_segment, client_segment, from_backend, from_client, splice};

/// A storm is one after so long.
const LASTING: Duration = Duration::from_secs(2);
/// Between two acknowledgments: prompt, even where the machine is slow.
const PACE: Duration = Duration::from_millis(5);
/// A machine that pauses begins another storm.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bare acknowledgment of the client's; `number` tells one flow's state from another's.
fn client_ack(number: u32) -> Tcp {
    Tcp { seq: number, flags: flag::ACK, payload: Vec::new(), ..client_segment() }
}

fn backend_ack(number: u32) -> Tcp {
    Tcp { seq: number, flags: flag::ACK, payload: Vec::new(), ..backend_segment() }
}

/// What becomes of the `nth` packet of a storm.
fn turn(bench: &mut Bench, nth: usize, number: u32) -> Fate {
    if nth.is_multiple_of(2) {
        bench.uplink(&client_ack(number).over4(&from_client())).fate
    } else {
        bench.tunnel(&backend_ack(number).over6(&from_backend())).fate
    }
}

/// Goes on until something is dropped; how many acknowledgments passed, and for how long.
fn rage(mut turn: impl FnMut(usize) -> Fate) -> (usize, Duration) {
    let begun = Instant::now();
    let passed = (0..).find(|nth| {
        thread::sleep(PACE);
        assert!(begun.elapsed() < PATIENCE, "it goes on for ever");
        let fate = turn(*nth);
        assert!([Fate::Sent, Fate::Dropped(DropReason::AckStorm)].contains(&fate), "{fate:?}");
        fate != Fate::Sent
    });
    (passed.expect("it ends"), begun.elapsed())
}

#[test]
fn a_storm_dies_out() {
    let mut bench = bench();
    bench.install(&splice());
    let (passed, time) = rage(|nth| turn(&mut bench, nth, 1));
    assert!(passed >= 128 && time >= LASTING, "{passed} in {time:?}");
    for nth in passed + 1..passed + 4 {
        assert_eq!(turn(&mut bench, nth, 1), Fate::Dropped(DropReason::AckStorm));
    }
    // Nothing else of the flow is held up,
    let data = client_segment().over4(&from_client());
    assert_eq!(bench.uplink(&data).fate, Fate::Sent);
    let sack = Tcp { options: [&[1, 1, 5, 10][..], &[0; 8]].concat(), ..client_ack(1) };
    assert_eq!(bench.uplink(&sack.over4(&from_client())).fate, Fate::Sent);
    // nor does it last.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(turn(&mut bench, 0, 1), Fate::Sent);
    assert_eq!(turn(&mut bench, 1, 1), Fate::Sent);
}

/// Of a transfer without SACK whose first segment is lost, and whose whole window is acknowledged by the same.
#[test]
fn duplicates_of_one_end_pass_however_many() {
    let mut bench = bench();
    bench.install(&splice());
    for up in [true, false] {
        for _ in 0..2000 {
            assert_eq!(turn(&mut bench, usize::from(!up), 2), Fate::Sent);
        }
    }
}

/// One number more, or another window, and it is progress.
#[test]
fn what_moves_on_passes() {
    let mut bench = bench();
    bench.install(&splice());
    for nth in 0..600 {
        let (number, window) = if nth % 8 < 4 { (nth as u32, 1000) } else { (3, nth as u16) };
        let fate = if nth % 2 == 0 {
            bench.uplink(&Tcp { window, ..client_ack(number) }.over4(&from_client())).fate
        } else {
            bench.tunnel(&Tcp { window, ..backend_ack(number) }.over6(&from_backend())).fate
        };
        assert_eq!(fate, Fate::Sent, "{nth}");
    }
}

/// With timestamps, which go on while everything else stands.
#[test]
fn clocks_are_no_progress() {
    let mut bench = bench();
    bench.install(&ingress::handshake::Splice { ts_delta: Some(7), ..splice() });
    let (passed, time) = rage(|nth| {
        let options = [&[1, 1, 8, 10][..], &(nth as u32).to_be_bytes(), &[0; 4]].concat();
        if nth % 2 == 0 {
            bench.uplink(&Tcp { options, ..client_ack(4) }.over4(&from_client())).fate
        } else {
            bench.tunnel(&Tcp { options, ..backend_ack(4) }.over6(&from_backend())).fate
        }
    });
    assert!(passed >= 128 && time >= LASTING, "{passed} in {time:?}");
}

/// Both ends have lost something, and acknowledge by the same all that was on the way.
#[test]
fn a_burst_of_both_ends_passes() {
    let mut bench = bench();
    bench.install(&splice());
    let begun = Instant::now();
    for nth in 0..1000 {
        let fate = turn(&mut bench, nth, 5);
        if begun.elapsed() < LASTING {
            assert_eq!(fate, Fate::Sent, "{nth}");
        }
    }
}
