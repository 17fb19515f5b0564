//! What rules let in, what passes by every rule, and rules that follow each other.

use ingress::config::Policy;

use super::{
    CLOSED, ESP, STRANGER, TCP, closed, datagram, fate_in, goes_out, inward, outward, rule,
    segment, service,
};
use crate::bench::{Fate, bench};
use crate::frame::{Ip6, UDP, flag};
use crate::place::{BACKEND, OTHER_SITE};

#[test]
fn rules_let_in_what_they_name() {
    let mut bench = bench();
    let to_port = |port, ip: &Ip6| segment(5555, port, flag::SYN).over6(ip);
    assert_eq!(fate_in(&mut bench, &to_port(22, &inward())), Fate::Sent, "open until told");
    bench.govern(&closed(), 0);
    let neighbour = Ip6 { destination: "2001:db8:1:0:1::81".parse().unwrap(), ..inward() };
    let stranger = Ip6 { source: STRANGER, ..inward() };
    for (packet, fate) in [
        (to_port(443, &inward()), Fate::Sent),
        (to_port(443, &stranger), Fate::Sent),
        (to_port(444, &inward()), CLOSED),
        (to_port(443, &neighbour), CLOSED),
        (to_port(7999, &inward()), CLOSED),
        (to_port(8000, &inward()), Fate::Sent),
        (to_port(8010, &inward()), Fate::Sent),
        (to_port(8011, &inward()), CLOSED),
        (to_port(8005, &stranger), CLOSED),
        (inward().around(UDP, &datagram(5555, 443)), CLOSED),
        (inward().around(UDP, &datagram(5555, 53)), Fate::Sent),
        (neighbour.around(UDP, &datagram(5555, 53)), Fate::Sent),
        (inward().around(ESP, &[0; 40]), CLOSED),
        (inward().around(59, &[]), CLOSED),
        (inward().around(UDP, &[0, 53]), CLOSED),
    ] {
        assert_eq!(fate_in(&mut bench, &packet), fate, "{packet:x?}");
    }
    // Sites among each other are not outside.
    let across = Ip6 { source: *BACKEND.ip(), destination: OTHER_SITE, ..Ip6::default() };
    goes_out(&mut bench, &to_port(22, &across));
    assert_eq!(bench.connections().len(), 0, "and nothing has to come back from the world");
}

#[test]
fn icmp_that_must_pass_passes() {
    let mut bench = bench();
    bench.govern(&closed(), 0);
    for kind in 0..=255 {
        let fate = if matches!(kind, 1..=4 | 128 | 129) { Fate::Sent } else { CLOSED };
        let seen = fate_in(&mut bench, &inward().icmp(kind, &[0; 44]));
        assert_eq!(seen, fate, "{kind}");
    }
    goes_out(&mut bench, &outward().icmp(128, &[0; 8]));
    assert_eq!(bench.connections().len(), 0, "echo is not tracked");
}

/// A set is replaced by a set, and whatever is in force has all of its rules and none of another's.
#[test]
fn rule_sets_follow_each_other() {
    let mut bench = bench();
    let to_port = |port| segment(5555, port, flag::SYN).over6(&inward());
    for round in 0..5 {
        for port in [443, 22] {
            let allow = vec![rule("2001:db8:1:0:1::/80", service(TCP, port..=port), &[])];
            bench.govern(&Policy { allow, ..closed() }, 0);
            for asked in [443, 22] {
                let fate = if asked == port { Fate::Sent } else { CLOSED };
                assert_eq!(fate_in(&mut bench, &to_port(asked)), fate, "{round}");
            }
        }
    }
    bench.govern(&Policy::default(), 0);
    assert_eq!(fate_in(&mut bench, &to_port(80)), Fate::Sent);
}
