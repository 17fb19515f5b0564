//! Connections from inside: whose answers pass, how long, and what makes an entry.

use ingress_common::policy::{ESTABLISHED, LINGERING, TRANSITORY, UDP_IDLE};

use super::{CLOSED, ESP, STRANGER, closed, datagram, fate_in, goes_out, inward, outward, segment};
use crate::bench::{Fate, bench};
use crate::frame::{Ip6, UDP, flag, unpadded};
use crate::test_run::Skb;

#[test]
fn answers_to_tcp_from_inside_pass() {
    let mut bench = bench();
    bench.govern(&closed(), 0);
    let answer = |flags| segment(80, 40_000, flags).over6(&inward());
    let syn_ack = flag::SYN | flag::ACK;
    assert_eq!(fate_in(&mut bench, &answer(syn_ack)), CLOSED);
    goes_out(&mut bench, &segment(40_000, 80, flag::SYN).over6(&outward()));
    for flags in [syn_ack, flag::ACK, flag::ACK | flag::FIN] {
        assert_eq!(fate_in(&mut bench, &answer(flags)), Fate::Sent);
    }
    assert_eq!(fate_in(&mut bench, &answer(flag::SYN)), CLOSED, "that is no answer");
    let others = [
        segment(80, 40_001, syn_ack).over6(&inward()),
        segment(81, 40_000, syn_ack).over6(&inward()),
        segment(80, 40_000, syn_ack).over6(&Ip6 { source: STRANGER, ..inward() }),
        inward().around(UDP, &datagram(80, 40_000)),
    ];
    for other in others {
        assert_eq!(fate_in(&mut bench, &other), CLOSED);
    }
    bench.age_connections(ESTABLISHED - 60_000_000_000);
    assert_eq!(fate_in(&mut bench, &answer(flag::ACK)), Fate::Sent);
    bench.age_connections(61_000_000_000);
    assert_eq!(fate_in(&mut bench, &answer(flag::ACK)), CLOSED);
    // One that nobody has answered yet.
    goes_out(&mut bench, &segment(40_000, 80, flag::SYN).over6(&outward()));
    bench.age_connections(TRANSITORY + 1);
    assert_eq!(fate_in(&mut bench, &answer(syn_ack)), CLOSED);
}

#[test]
fn answers_to_other_protocols_from_inside_pass() {
    let mut bench = bench();
    bench.govern(&closed(), 0);
    for (protocol, asks, says) in
        [(UDP, datagram(4000, 123), datagram(123, 4000)), (ESP, vec![1; 24], vec![2; 24])]
    {
        let answer = inward().around(protocol, &says);
        assert_eq!(fate_in(&mut bench, &answer), CLOSED);
        goes_out(&mut bench, &outward().around(protocol, &asks));
        assert_eq!(fate_in(&mut bench, &answer), Fate::Sent);
        bench.age_connections(UDP_IDLE + 1);
        assert_eq!(fate_in(&mut bench, &answer), CLOSED, "{protocol}");
        goes_out(&mut bench, &outward().around(protocol, &asks));
        assert_eq!(fate_in(&mut bench, &answer), Fate::Sent, "asked again");
    }
}

/// Who floods an open port fills no table: neither what comes in nor what a server answers makes an entry.
#[test]
fn only_the_inside_makes_entries_and_only_where_it_has_to() {
    let mut bench = bench();
    goes_out(&mut bench, &segment(40_000, 80, flag::SYN).over6(&outward()));
    assert_eq!(bench.connections().len(), 0, "open");
    bench.govern(&closed(), 0);
    for port in [443, 22] {
        fate_in(&mut bench, &segment(5555, port, flag::SYN).over6(&inward()));
    }
    for flags in [flag::SYN | flag::ACK, flag::ACK, flag::RST] {
        goes_out(&mut bench, &segment(443, 5555, flags).over6(&outward()));
    }
    for flags in [flag::SYN | flag::ACK, flag::RST, flag::RST | flag::ACK] {
        goes_out(&mut bench, &segment(22, 5555, flags).over6(&outward()));
    }
    goes_out(&mut bench, &outward().icmp(1, &[0; 44]));
    goes_out(&mut bench, &outward().around(UDP, &datagram(53, 5555)));
    assert_eq!(bench.connections().len(), 0);
    goes_out(&mut bench, &segment(40_000, 80, flag::SYN).over6(&outward()));
    // The kernel sends it on, and its answer comes by us.
    let last_hop = Ip6 { hop_limit: 1, ..outward() };
    bench.tunnel_frame(&unpadded(&segment(40_001, 80, flag::SYN).over6(&last_hop)), Skb::default());
    assert_eq!(bench.connections().len(), 2);
}

/// What stood before the policy closed goes on: the inside takes it up, and until then it is let in if it cannot
/// be a beginning.
#[test]
fn a_change_cuts_nothing() {
    const HOUR: u64 = 3_600_000_000_000;
    let mut bench = bench();
    let data = segment(80, 40_000, flag::ACK).over6(&inward());
    let syn = segment(80, 40_000, flag::SYN).over6(&inward());
    let packet = inward().around(UDP, &datagram(123, 4000));
    for (before, segments, datagrams) in [
        (0, CLOSED, CLOSED),
        (1, Fate::Sent, Fate::Sent),
        (LINGERING + 1, Fate::Sent, CLOSED),
        (2 * HOUR, Fate::Sent, CLOSED),
        (3 * HOUR, CLOSED, CLOSED),
    ] {
        bench.govern(&closed(), before);
        assert_eq!(fate_in(&mut bench, &data), segments, "{before}");
        assert_eq!(fate_in(&mut bench, &packet), datagrams, "{before}");
        assert_eq!(fate_in(&mut bench, &syn), CLOSED);
    }
    goes_out(&mut bench, &segment(40_000, 80, flag::ACK).over6(&outward()));
    assert_eq!(fate_in(&mut bench, &data), Fate::Sent);
}
