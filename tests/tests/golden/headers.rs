//! Extension headers of a backend's segment: those that IPv4 has no place for are left out (RFC 7915 §5.1).

use ingress_common::upcall::Upcall;
use ingress_common::verdict::{DropReason, Traffic};

use crate::bench::{Fate, bench, now};
use crate::frame::{TCP, Tcp, ethernet, read4, unpadded};
use crate::place::{self, backend_key, backend_segment, from_backend, splice};
use crate::test_run::Skb;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
/// What the IPv6 header takes.
const IPV6: usize = 40;

/// Options that nobody has to know, so many words of eight octets of them besides the first.
fn options(words: u8) -> Vec<u8> {
    let padding = 4 + 8 * words;
    [&[words, 1, padding][..], &vec![0; usize::from(padding)]].concat()
}

/// A segment behind headers, each without its first octet.
fn behind(headers: &[(u8, Vec<u8>)], segment: &Tcp) -> Vec<u8> {
    let packet = segment.over6(&from_backend());
    let kinds = headers.iter().map(|(kind, _)| *kind).skip(1).chain([TCP]);
    let chain: Vec<u8> = headers
        .iter()
        .zip(kinds)
        .flat_map(|((_, rest), next)| [&[next], rest.as_slice()].concat())
        .collect();
    let first = headers.first().map_or(TCP, |(kind, _)| *kind);
    from_backend().around(first, &[&chain, &packet[IPV6..]].concat())
}

fn atomic() -> (u8, Vec<u8>) {
    (FRAGMENT, vec![0, 0, 0, 1, 2, 3, 4])
}

#[test]
fn what_ipv4_has_no_place_for_is_left_out() {
    let mut bench = bench();
    bench.install(&splice());
    let routed =
        (ROUTING, vec![2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for headers in [
        vec![(HOP_BY_HOP, options(0))],
        vec![(DESTINATION, options(0))],
        vec![(DESTINATION, options(5))],
        vec![routed.clone()],
        vec![atomic()],
        vec![(HOP_BY_HOP, options(1)), (DESTINATION, options(2)), routed, atomic()],
    ] {
        for len in [0, 1, 20, 800] {
            let segment = Tcp { payload: vec![5; len], ..backend_segment() };
            let plain = bench.tunnel(&segment.over6(&from_backend()));
            let packet = behind(&headers, &segment);
            for (frame, summed) in
                [(ethernet(&packet), false), (unpadded(&packet), false), (unpadded(&packet), true)]
            {
                let seen = bench.tunnel_frame(&frame, Skb { summed, ..Skb::default() });
                let (mut ip, tcp) = read4(seen.sent());
                let (expected, same) = read4(plain.sent());
                // A number by chance.
                ip.id = expected.id;
                assert_eq!((ip, tcp), (expected, same), "{headers:?}, {len}");
                assert_eq!(seen.traffic, [(Traffic::Nat46Out, 1, 40 + len as u64)]);
            }
        }
    }
}

#[test]
fn what_must_not_be_left_out_ends_here() {
    let mut bench = bench();
    bench.install(&splice());
    let under_way = vec![2, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for headers in [
        vec![(ROUTING, under_way)],
        vec![(FRAGMENT, vec![0, 0, 1, 1, 2, 3, 4])],
        vec![(FRAGMENT, vec![0, 0, 8, 1, 2, 3, 4])],
        vec![(
            AUTHENTICATION,
            vec![4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        )],
        vec![(DESTINATION, options(0)); 5],
        // Longer than the packet.
        vec![(DESTINATION, vec![200, 1, 4, 0, 0, 0, 0])],
    ] {
        let seen = bench.tunnel(&behind(&headers, &backend_segment()));
        assert_eq!(seen.fate, Fate::Dropped(DropReason::Untranslatable), "{headers:?}");
    }
    for cut in IPV6..IPV6 + 8 {
        let mut packet = behind(&[(DESTINATION, options(0))], &backend_segment());
        packet.truncate(cut);
        packet[4..6].copy_from_slice(&((cut - IPV6) as u16).to_be_bytes());
        assert!(matches!(bench.tunnel(&packet).fate, Fate::Dropped(_)), "{cut}");
    }
    assert_eq!(bench.to_client().packets, 0);
}

/// What goes to the daemon is what the backend meant.
#[test]
fn the_daemon_gets_it_without() {
    let mut bench = bench();
    bench.marks.expect(&backend_key(), now()).unwrap();
    let seen = bench.tunnel(&behind(&[(DESTINATION, options(1))], &backend_segment()));
    assert_eq!(seen.handed(Upcall::Backend), backend_segment().over6(&from_backend()));
    assert!(!bench.flows.remove(place::tuple()));
}
