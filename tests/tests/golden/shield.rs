//! The XDP program answers plain SYNs as the program at tc does, and leaves it everything else.

use ingress::config::Policy;
use ingress_common::cookie;
use ingress_common::tcp::{Seq, SynOptions, Timestamps};
use ingress_common::verdict::DropReason;

use crate::bench::{Bench, bench, now};
use crate::frame::{DF, ETHERNET, Ip4, MF, Tcp, ethernet, flag, is_turned, read4, unpadded};
use crate::place::{self, CLIENT_ISN, KEYS, client_key, from_client, splice, syn};

const LINUX: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 8];
const WINDOWS: [u8; 12] = [2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2];
const MACOS: [u8; 24] = [2, 4, 5, 180, 1, 3, 3, 6, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 4, 2, 0, 0];

/// What the options say, our clock left out.
fn meaning(options: &[u8]) -> (SynOptions, Option<u32>) {
    (SynOptions::parse(options), Timestamps::parse(options).map(|timestamps| timestamps.echo))
}

#[track_caller]
fn both(bench: &mut Bench, options: &[u8]) {
    let packet = syn(options).over4(&from_client());
    let frame = unpadded(&packet);
    let answer = bench.shield(&frame).expect("an answer");
    assert_eq!(answer.len(), frame.len(), "nothing is resized");
    assert!(is_turned(&answer), "to whom it came from");
    let (ip, tcp) = read4(&answer[ETHERNET..]);
    let at_tc = bench.uplink(&packet);
    let (ip_at_tc, tcp_at_tc) = read4(at_tc.sent());
    assert_eq!(ip, ip_at_tc);
    assert_eq!(meaning(&tcp.options), meaning(&tcp_at_tc.options));
    let without = |tcp: Tcp| Tcp { options: Vec::new(), seq: 0, ..tcp };
    assert_eq!(without(tcp.clone()), without(tcp_at_tc));
    let admitted = cookie::check(&KEYS, now(), &client_key(), Seq(CLIENT_ISN + 1), Seq(tcp.seq));
    assert_eq!(admitted.expect("a valid cookie").client_isn, Some(Seq(CLIENT_ISN)));
}

#[test]
fn what_systems_send_is_answered_as_at_tc() {
    let mut bench = bench();
    for options in [&LINUX[..], &WINDOWS, &MACOS, &[2, 4, 2, 24], &[2, 4, 5, 180, 30, 4, 0, 0]] {
        both(&mut bench, options);
    }
    // A frame longer than its packet: small ones are padded on Ethernet.
    let frame = ethernet(&syn(&[2, 4, 5, 180]).over4(&from_client()));
    assert_eq!(bench.shield(&frame).expect("an answer").len(), frame.len());
}

#[test]
fn ecn_does_not_matter() {
    let mut bench = bench();
    let asking = Tcp { flags: flag::SYN | 0xc0, ..syn(&LINUX) };
    let answer = bench.shield(&unpadded(&asking.over4(&from_client()))).expect("an answer");
    assert_eq!(read4(&answer[ETHERNET..]).1.flags, flag::SYN | flag::ACK);
}

#[test]
fn everything_else_goes_on() {
    let mut bench = bench();
    let ip = from_client();
    let plain = syn(&LINUX);
    let frames = [
        ("not a SYN", unpadded(&place::client_segment().over4(&ip))),
        (
            "SYN and ACK",
            unpadded(&Tcp { flags: flag::SYN | flag::ACK, ..plain.clone() }.over4(&ip)),
        ),
        (
            "SYN and FIN",
            unpadded(&Tcp { flags: flag::SYN | flag::FIN, ..plain.clone() }.over4(&ip)),
        ),
        ("data", unpadded(&Tcp { payload: vec![1; 9], ..plain.clone() }.over4(&ip))),
        ("no options to overwrite", unpadded(&syn(&[]).over4(&ip))),
        ("another port", unpadded(&Tcp { destination: 444, ..plain.clone() }.over4(&ip))),
        ("a fragment", unpadded(&plain.over4(&Ip4 { fragment: MF, ..ip.clone() }))),
        ("a later fragment", unpadded(&plain.over4(&Ip4 { fragment: DF | 7, ..ip.clone() }))),
        ("IPv6", unpadded(&plain.over6(&place::from_backend()))),
    ];
    for (what, frame) in frames {
        assert_eq!(bench.shield(&frame), None, "{what}");
    }
    let whole = unpadded(&plain.over4(&ip));
    for len in 14..whole.len() {
        assert_eq!(bench.shield(&whole[..len]), None, "cut to {len}");
    }
}

#[test]
fn a_known_tuple_is_for_tc() {
    let mut bench = bench();
    let frame = unpadded(&syn(&LINUX).over4(&from_client()));
    assert!(bench.shield(&frame).is_some());
    bench.install(&splice());
    assert_eq!(bench.shield(&frame), None);
}

#[test]
fn without_a_daemon_everything_is_for_tc() {
    let mut bench = bench();
    let frame = unpadded(&syn(&LINUX).over4(&from_client()));
    bench.secrets.beat(now() - 4_000_000_000).unwrap();
    assert_eq!(bench.shield(&frame), None);
}

#[test]
fn denied_clients_get_no_further() {
    let mut bench = bench();
    let frame = unpadded(&syn(&LINUX).over4(&from_client()));
    let policy =
        |deny: &str| Policy { deny_clients: vec![deny.parse().unwrap()], ..Policy::default() };
    bench.govern(&policy("203.0.113.0/24"), 0);
    bench.shield_drops(&frame, DropReason::ClientDenied);
    bench.govern(&policy("203.0.114.0/24"), 0);
    assert!(bench.shield(&frame).is_some());
    let other = Tcp { destination: 22, ..syn(&LINUX) }.over4(&from_client());
    bench.govern(&policy("203.0.113.0/24"), 0);
    assert_eq!(bench.shield(&unpadded(&other)), None, "a port of the host's own");
}
