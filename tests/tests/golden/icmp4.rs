//! ICMP errors from the world about what we sent to a client.

use std::collections::HashMap;

use ingress_common::ip::ICMP;
use ingress_common::upcall::Upcall;
use ingress_common::verdict::DropReason;

use crate::bench::{Fate, bench};
use crate::frame::{DF, Ip4, MF, Tcp, unpadded};
use crate::place::{LISTEN, client_segment, from_client, splice, to_client};
use crate::test_run::Skb;

fn router() -> Ip4 {
    Ip4 { source: "203.0.113.1".parse().unwrap(), destination: *LISTEN.ip(), ..Ip4::default() }
}

/// What a router quotes: our header, and at least eight octets of what it carries.
fn quoted() -> Vec<u8> {
    let sent = client_segment();
    Tcp { source: sent.destination, destination: sent.source, ..sent }.over4(&to_client())
}

fn error(kind: u8, quoted: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 4, 0, 0, 0, 0, 5, 0];
    message.extend(quoted);
    let sum = ingress_tests::segment::checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

#[test]
fn errors_about_a_flow_are_handed_up() {
    let mut bench = bench();
    bench.install(&splice());
    for kind in 0..=255 {
        let is_error = [3, 11, 12].contains(&kind);
        for len in [28, 40, quoted().len()] {
            let packet = router().around(ICMP, &error(kind, &quoted()[..len]));
            let seen = bench.uplink(&packet);
            if is_error {
                assert_eq!(seen.fate, Fate::Handed, "{kind}, {len}");
                assert_eq!(seen.handed(Upcall::Icmp4Error), packet);
            } else {
                assert_eq!(seen.fate, Fate::Kernel, "{kind}");
            }
        }
    }
}

#[test]
fn errors_about_a_port_that_is_listed_no_more_are_handed_up() {
    let mut bench = bench();
    bench.install(&splice());
    bench.listeners.replace(&HashMap::new()).unwrap();
    let packet = router().around(ICMP, &error(3, &quoted()));
    assert_eq!(bench.uplink(&packet).handed(Upcall::Icmp4Error), packet);
}

/// Of a listed port, but of no flow: nobody here could do something about it.
#[test]
fn errors_about_strangers_end_here() {
    let mut bench = bench();
    let packet = router().around(ICMP, &error(3, &quoted()));
    let seen = bench.uplink(&packet);
    assert_eq!(seen.fate, Fate::Dropped(DropReason::NoFlow));
    assert!(seen.records.is_empty());
}

#[test]
fn errors_about_others_are_the_kernels() {
    let mut bench = bench();
    let ours = quoted();
    let mut changed = |at: usize, octet: u8| {
        let mut other = ours.clone();
        other[at] = octet;
        let packet = router().around(ICMP, &error(3, &other));
        assert_eq!(bench.uplink(&packet).fate, Fate::Kernel, "{at}");
    };
    changed(0, 0x46); // the quoted header has options
    changed(9, 17); // a datagram
    changed(15, 77); // from another address
    changed(21, 22); // from another port
    for len in 0..24 {
        let packet = router().around(ICMP, &error(3, &quoted()[..len]));
        let seen = bench.uplink_frame(&unpadded(&packet), Skb::default());
        assert_eq!(seen.fate, Fate::Kernel, "{len} octets quoted");
    }
    let whole = error(3, &quoted());
    let behind_options = Ip4 { options: vec![1; 4], ..router() };
    assert_eq!(bench.uplink(&behind_options.around(ICMP, &whole)).fate, Fate::Kernel);
    for fragment in [1, 185, MF | 3] {
        let later = Ip4 { fragment, ..router() };
        assert_eq!(bench.uplink(&later.around(ICMP, &whole)).fate, Fate::Kernel);
    }
    assert_eq!(bench.tunnel(&router().around(ICMP, &whole)).fate, Fate::Kernel);
    // What comes from the client quotes nothing.
    let ping = Ip4 { fragment: DF, ..from_client() }.around(ICMP, &error(8, &[7; 56]));
    assert_eq!(bench.uplink(&ping).fate, Fate::Kernel);
}

#[test]
fn they_are_rationed() {
    let mut bench = bench();
    bench.install(&splice());
    let packet = router().around(ICMP, &error(3, &quoted()));
    assert_eq!(bench.uplink(&packet).fate, Fate::Handed);
    bench.grant_no_reports();
    assert_eq!(bench.uplink(&packet).fate, Fate::Dropped(DropReason::RateLimited));
}
