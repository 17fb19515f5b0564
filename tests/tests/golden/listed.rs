//! Whatever comes to a listed port, the host's own TCP never gets it: it would answer with a reset.

use std::io::ErrorKind;

use ingress_common::cookie;
use ingress_common::tcp::{Seq, SynOptions};
use ingress_common::verdict::DropReason;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::bench::{Bench, Fate, bench, now};
use crate::frame::{DF, Ip4, MF, Tcp, flag, unpadded};
use crate::place::{CLIENT_ISN, KEYS, client_key, client_segment, from_client, splice};
use crate::test_run::Skb;

/// What is known of a client when its packet comes.
#[derive(Clone, Copy, Debug)]
enum State {
    Stranger,
    Pending,
    Spliced,
}

fn enter(bench: &mut Bench, state: State) {
    match state {
        State::Stranger => {}
        State::Pending => bench.marks.pend(&client_key(), now()).unwrap(),
        State::Spliced => bench.install(&splice()),
    }
}

/// Many, unless somebody asks for fewer, as where a machine is emulated.
fn cases() -> u32 {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    if asked { Config::default().cases } else { 1500 }
}

#[track_caller]
fn run(bench: &mut Bench, packet: &[u8]) -> Fate {
    // Twenty octets of IPv4 are what a test run insists on.
    bench.uplink_frame(&unpadded(packet), Skb::default()).fate
}

prop_compose! {
    fn any_segment()(
        flags: u8, reserved in 0..16u8, seq: u32, ack: u32, window: u16, urgent: u16,
        options in proptest::collection::vec(any::<u8>(), 0..=40),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        plausible: bool,
    ) -> Tcp {
        let mut options = options;
        options.truncate(options.len() & !3);
        let minted = cookie::mint(
            &KEYS, now(), &client_key(), Seq(CLIENT_ISN), &SynOptions::default());
        let (seq, ack) =
            if plausible { (CLIENT_ISN + 1, minted.0.wrapping_add(1)) } else { (seq, ack) };
        Tcp { flags, reserved, seq, ack, window, urgent, options, payload, ..client_segment() }
    }
}

proptest! {
    #![proptest_config(Config { cases: cases(), failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_segment_leaks(
        segment in any_segment(),
        tos: u8, id: u16, ttl: u8, fragmented: bool, offset_zero: bool,
        ip_options in proptest::collection::vec(any::<u8>(), 0..=40),
        with_options: bool,
        state in prop_oneof![
            Just(State::Stranger), Just(State::Pending), Just(State::Spliced)],
    ) {
        let mut bench = bench();
        enter(&mut bench, state);
        let mut ip = Ip4 { tos, id, ttl, ..from_client() };
        ip.fragment = if fragmented { MF } else if offset_zero { 0 } else { DF };
        if with_options {
            ip.options = ip_options[..ip_options.len() & !3].to_vec();
        }
        prop_assert_ne!(run(&mut bench, &segment.over4(&ip)), Fate::Kernel);
    }

    /// Any octet of the headers may be anything, as long as it still says IPv4, TCP and that port.
    #[test]
    fn no_damaged_header_leaks(
        segment in any_segment(),
        damage in proptest::collection::vec((0usize..60, any::<u8>()), 1..6),
        state in prop_oneof![
            Just(State::Stranger), Just(State::Pending), Just(State::Spliced)],
    ) {
        let mut packet = segment.over4(&from_client());
        for (at, octet) in damage {
            // Version and length of the header, protocol, fragment, addresses and ports say whose it is.
            if !matches!(at, 0 | 6 | 7 | 9 | 12..=23) && at < packet.len() {
                packet[at] = octet;
            }
        }
        let mut bench = bench();
        enter(&mut bench, state);
        prop_assert_ne!(run(&mut bench, &packet), Fate::Kernel);
    }
}

/// Every length at which the ports can be read, by a packet that says so and by one that lies.
#[test]
fn no_truncated_packet_leaks() {
    for state in [State::Stranger, State::Pending, State::Spliced] {
        for flags in [flag::SYN, flag::ACK, flag::ACK | flag::PSH, flag::RST] {
            let segment = Tcp { flags, options: vec![1; 12], ..client_segment() };
            let whole = segment.over4(&from_client());
            for len in 20..whole.len() {
                let mut bench = bench();
                enter(&mut bench, state);
                let cut = &whole[..len];
                let lying = run(&mut bench, cut);
                let mut honest = cut.to_vec();
                honest[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                let honest = run(&mut bench, &honest);
                if len < 24 {
                    assert_eq!((lying, honest), (Fate::Kernel, Fate::Kernel), "{len}");
                    continue;
                }
                let malformed = Fate::Dropped(DropReason::Malformed);
                assert_eq!(lying, malformed, "{len}");
                if len < 52 {
                    assert_eq!(honest, malformed, "{len}");
                }
                assert_ne!(honest, Fate::Kernel, "{len}");
            }
        }
    }
}

/// Too short for IPv4 at all: the kernel's test run refuses to build it, with other types it is not ours.
#[test]
fn stumps_of_frames() {
    let mut bench = bench();
    for len in 15..34 {
        let frame = unpadded(&vec![0x45; len - 14]);
        match crate::test_run::test_run(bench.uplink_program(), &frame, Skb::default()) {
            Ok(ran) => assert_eq!(ran.action, -1, "{len}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{len}"),
        }
    }
    for len in 15..60 {
        let mut frame = vec![0; len];
        frame[12..14].copy_from_slice(&[0x88, 0xcc]);
        assert_eq!(bench.uplink_frame(&frame, Skb::default()).fate, Fate::Kernel, "{len}");
        assert_eq!(bench.tunnel_frame(&frame, Skb::default()).fate, Fate::Kernel, "{len}");
    }
}

#[test]
fn data_offsets_below_five() {
    let mut bench = bench();
    for state in [State::Stranger, State::Pending, State::Spliced] {
        enter(&mut bench, state);
        for flags in [flag::SYN, flag::ACK, flag::RST] {
            for words in 0..5 {
                let mut packet = Tcp { flags, ..client_segment() }.over4(&from_client());
                packet[32] = words << 4;
                let fate = run(&mut bench, &packet);
                assert_eq!(fate, Fate::Dropped(DropReason::Malformed), "{state:?}, {words}");
            }
        }
    }
}

#[test]
fn fragments() {
    let mut bench = bench();
    bench.install(&splice());
    let first = Ip4 { fragment: MF, id: 9, ..from_client() };
    let reason = Fate::Dropped(DropReason::Ipv4Fragment);
    assert_eq!(run(&mut bench, &client_segment().over4(&first)), reason);
    // The smallest first fragment there can be has eight octets: the ports and a sequence number.
    for len in (8..40).step_by(8) {
        let segment = Tcp { payload: vec![0; 40], ..client_segment() }.over4(&first);
        let tiny = first.around(6, &segment[20..20 + len]);
        assert_eq!(run(&mut bench, &tiny), reason, "{len}");
    }
    // A later one has no ports. Without the first, the kernel never puts them together.
    for offset in [1, 185, 0x1fff] {
        for more in [0, MF] {
            let later = Ip4 { fragment: offset | more, ..from_client() };
            assert_eq!(run(&mut bench, &later.around(6, &[1; 64])), Fate::Kernel);
        }
    }
    let unlisted = Tcp { destination: 22, ..client_segment() };
    assert_eq!(run(&mut bench, &unlisted.over4(&first)), Fate::Kernel);
}

#[test]
fn ip_options() {
    let mut bench = bench();
    bench.install(&splice());
    for len in (4..=40).step_by(4) {
        let ip = Ip4 { options: vec![1; len], ..from_client() };
        let reason = Fate::Dropped(DropReason::Ipv4Options);
        assert_eq!(run(&mut bench, &client_segment().over4(&ip)), reason, "{len}");
        let unlisted = Tcp { destination: 22, ..client_segment() };
        assert_eq!(run(&mut bench, &unlisted.over4(&ip)), Fate::Kernel, "{len}");
    }
}

/// The kernel gets its packets as they came, with their padding.
#[test]
fn packets_of_others_keep_their_padding() {
    let mut bench = bench();
    let segment = Tcp { destination: 22, payload: vec![], ..client_segment() };
    for padding in [0, 6, 100] {
        let frame = [unpadded(&segment.over4(&from_client())), vec![0; padding]].concat();
        assert_eq!(bench.uplink_frame(&frame, Skb::default()).fate, Fate::Kernel);
    }
}
