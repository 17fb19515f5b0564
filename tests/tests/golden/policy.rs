//! What the policy makes of packets from outside, and what it learns from those that go out.

use std::net::{IpAddr, Ipv6Addr};

use ingress::config::{Allow, AllowedService, Ipv6Policy, Policy};
use ingress_common::policy::{ESTABLISHED, LINGERING, TRANSITORY, UDP_IDLE};
use ingress_common::verdict::DropReason;
use ipnet::IpNet;

use crate::bench::{Bench, Fate, bench};
use crate::device::Offload;
use crate::frame::{ICMPV6, Ip6, Tcp, UDP, flag, read_ip6, unpadded};
use crate::place::{self, BACKEND, MTU, OTHER_SITE, WORLD, client_segment, from_client};
use crate::test_run::Skb;
use crate::wire::on_every_wire;

const TCP: u8 = 6;
const ESP: u8 = 50;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
const HOP_BY_HOP: u8 = 0;
const CLOSED: Fate = Fate::Dropped(DropReason::PolicyClosed);
const DENIED: Fate = Fate::Dropped(DropReason::ClientDenied);
const STRANGER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, 9);

fn service(protocol: u8, ports: std::ops::RangeInclusive<u16>) -> AllowedService {
    AllowedService { protocol: Some(protocol), ports }
}

fn rule(to: &str, service: AllowedService, from: &[&str]) -> Allow {
    let from = from.iter().map(|net| net.parse().unwrap()).collect();
    Allow { to: vec![to.parse().unwrap()], services: vec![service], from }
}

/// TCP 443 for everybody; 8000 to 8010 for [`WORLD`]'s neighbours; UDP 53 at the whole site.
fn closed() -> Policy {
    let backend = "2001:db8:1:0:1::80/128";
    Policy {
        ipv6: Ipv6Policy::Closed,
        allow: vec![
            rule(backend, service(TCP, 443..=443), &[]),
            rule(backend, service(TCP, 8000..=8010), &["2001:db8:c::/48"]),
            rule("2001:db8:1:0:1::/80", service(UDP, 53..=53), &[]),
        ],
        ..Policy::default()
    }
}

fn denying(deny: &[&str], allow: &[&str]) -> Policy {
    let net = |text: &&str| match text.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse::<IpNet>().unwrap(),
    };
    let nets = |list: &[&str]| list.iter().map(net).collect();
    Policy { deny_clients: nets(deny), allow_clients: nets(allow), ..Policy::default() }
}

fn inward() -> Ip6 {
    Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() }
}

fn outward() -> Ip6 {
    Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() }
}

fn segment(source: u16, destination: u16, flags: u8) -> Tcp {
    Tcp { source, destination, flags, ..Tcp::default() }
}

fn datagram(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes(), [0, 12], [0, 0], [1, 2], [3, 4]].concat()
}

/// A packet with a fragment header before its payload.
fn piece(ip: &Ip6, protocol: u8, offset: u16, more: bool, id: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    ip.around(FRAGMENT, &[&[protocol, 0, high, low, 0, 0, 0, id], payload].concat())
}

#[track_caller]
fn fate_in(bench: &mut Bench, packet: &[u8]) -> Fate {
    bench.uplink_frame(&unpadded(packet), Skb::default()).fate
}

#[track_caller]
fn goes_out(bench: &mut Bench, packet: &[u8]) {
    assert_eq!(bench.tunnel_frame(&unpadded(packet), Skb::default()).fate, Fate::Sent);
}

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

/// What the kernel would forward is judged first: hop limit, size, options, an address with another route.
#[test]
fn the_kernel_is_no_way_around() {
    let mut bench = bench();
    bench.govern(&closed(), 0);
    let odd = |port: u16| {
        let open = segment(5555, port, flag::SYN);
        let large = Tcp { payload: vec![0; MTU as usize], ..open.clone() };
        let elsewhere = Ip6 { source: "fd00:6::1".parse().unwrap(), ..inward() };
        let last_hop = Ip6 { hop_limit: 1, ..inward() };
        let whole = open.over6(&inward());
        let options = [&[TCP, 0, 1, 4, 0, 0, 0, 0], &whole[40..]].concat();
        let mut jumbo = whole.clone();
        jumbo[4..6].fill(0);
        [
            jumbo,
            open.over6(&last_hop),
            large.over6(&inward()),
            open.over6(&elsewhere),
            inward().around(HOP_BY_HOP, &options),
        ]
    };
    for packet in odd(443) {
        assert_eq!(fate_in(&mut bench, &packet), Fate::Kernel);
    }
    for packet in odd(22) {
        assert_eq!(fate_in(&mut bench, &packet), CLOSED, "{packet:x?}");
    }
}

#[test]
fn extension_headers_are_stepped_over() {
    let mut bench = bench();
    bench.govern(&closed(), 0);
    let chain = |len: usize, port: u16| {
        let mut body = segment(5555, port, flag::SYN).over6(&inward())[40..].to_vec();
        for nth in 0..len {
            let next = if nth == 0 { TCP } else { DESTINATION };
            let header = [&[next, 1, 1, 12], &[0; 12][..]].concat();
            body = [header, body].concat();
        }
        inward().around(DESTINATION, &body)
    };
    for len in 1..=6 {
        assert_eq!(fate_in(&mut bench, &chain(len, 443)), Fate::Sent, "{len}");
        assert_eq!(fate_in(&mut bench, &chain(len, 22)), CLOSED, "{len}");
    }
    assert_eq!(fate_in(&mut bench, &chain(7, 443)), CLOSED, "nobody sends so many");
    // A chain that leads out of the packet, into what the link layer appended.
    let mut short = chain(1, 443);
    short[4..6].copy_from_slice(&16u16.to_be_bytes());
    assert_eq!(fate_in(&mut bench, &short), CLOSED);
}

#[test]
fn later_fragments_follow_the_first() {
    let mut bench = bench();
    bench.govern(&closed(), 0);
    let first = |port, id| {
        let whole = segment(5555, port, flag::SYN).over6(&inward());
        piece(&inward(), TCP, 0, true, id, &[&whole[40..], &[0; 4]].concat())
    };
    let later = |id| piece(&inward(), TCP, 3, false, id, &[0; 30]);
    assert_eq!(fate_in(&mut bench, &later(1)), CLOSED, "nothing was before");
    assert_eq!(fate_in(&mut bench, &first(443, 1)), Fate::Sent);
    assert_eq!(fate_in(&mut bench, &later(1)), Fate::Sent);
    assert_eq!(fate_in(&mut bench, &later(2)), CLOSED, "of another packet");
    assert_eq!(fate_in(&mut bench, &first(22, 3)), CLOSED);
    assert_eq!(fate_in(&mut bench, &later(3)), CLOSED);
    let tiny = piece(&inward(), TCP, 0, true, 4, &[0x15, 0xb3, 1, 0xbb, 0, 0, 0, 0]);
    assert_eq!(fate_in(&mut bench, &tiny), CLOSED, "without all of its headers");
    let whole = segment(5555, 443, flag::SYN).over6(&inward());
    let alone = piece(&inward(), TCP, 0, false, 5, &whole[40..]);
    assert_eq!(fate_in(&mut bench, &alone), Fate::Sent);
    assert_eq!(fate_in(&mut bench, &later(5)), CLOSED, "that one had no others");
}

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
    bench.age_connections(ESTABLISHED - 1_000_000_000);
    assert_eq!(fate_in(&mut bench, &answer(flag::ACK)), Fate::Sent);
    bench.age_connections(2_000_000_000);
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

#[test]
fn denied_clients_by_ipv6() {
    let mut bench = bench();
    let syn = segment(5555, 443, flag::SYN).over6(&inward());
    let echo = inward().icmp(128, &[0; 8]);
    for policy in [
        denying(&["2001:db8:c::/48"], &[]),
        denying(&[], &["2001:db8:d::/48", "203.0.113.0/24"]),
        denying(&["2001:db8:c::2/128"], &["2001:db8:c::/48"]),
        Policy { ipv6: Ipv6Policy::Closed, ..denying(&["2001:db8:c::2"], &[]) },
    ] {
        bench.govern(&Policy { allow: closed().allow, ..policy }, 0);
        assert_eq!(fate_in(&mut bench, &syn), DENIED);
        assert_eq!(fate_in(&mut bench, &echo), DENIED);
        let error = inward().icmp(2, &[0; 44]);
        assert_eq!(fate_in(&mut bench, &error), Fate::Sent, "routers are no clients");
        // The inside may call whom it likes.
        goes_out(&mut bench, &segment(40_000, 80, flag::SYN).over6(&outward()));
        let answer = segment(80, 40_000, flag::SYN | flag::ACK).over6(&inward());
        assert_eq!(fate_in(&mut bench, &answer), Fate::Sent);
    }
    bench.govern(&denying(&["2001:db8:c::3/128"], &["2001:db8:c::/48"]), 0);
    assert_eq!(fate_in(&mut bench, &syn), Fate::Sent);
    let pieces = piece(&inward(), TCP, 3, false, 9, &[0; 30]);
    assert_eq!(fate_in(&mut bench, &pieces), Fate::Sent, "open for who may");
}

#[test]
fn denied_clients_by_ipv4() {
    let mut bench = bench();
    let syn = Tcp { flags: flag::SYN, ack: 0, payload: Vec::new(), ..client_segment() };
    let fate = |bench: &mut Bench, tcp: &Tcp| fate_in(bench, &tcp.over4(&from_client()));
    bench.govern(&denying(&["203.0.113.0/24"], &[]), 0);
    assert_eq!(fate(&mut bench, &syn), DENIED);
    assert_eq!(fate(&mut bench, &client_segment()), DENIED, "nor what would bring a cookie");
    let other = Tcp { destination: 22, ..syn.clone() };
    assert_eq!(fate(&mut bench, &other), Fate::Kernel, "a port of the host's own");
    bench.govern(&denying(&[], &["203.0.113.8"]), 0);
    assert_eq!(fate(&mut bench, &syn), DENIED);
    // What has begun goes on.
    bench.marks.pend(&place::client_key(), 1).unwrap();
    assert_eq!(fate(&mut bench, &client_segment()), Fate::Handed);
    bench.marks.unpend(&place::client_key());
    bench.install(&place::splice());
    assert_eq!(fate(&mut bench, &client_segment()), Fate::Sent);
    assert_eq!(fate(&mut bench, &syn), DENIED, "but not anew");
    bench.govern(&denying(&[], &["203.0.113.9"]), 0);
    assert_eq!(fate(&mut bench, &syn), Fate::Sent);
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

/// On devices with Ethernet headers and without, of which the test run knows none.
#[test]
fn with_and_without_ethernet() {
    on_every_wire(|wire| {
        let policy = closed();
        wire.govern(&policy);
        let before = wire.drops(DropReason::PolicyClosed);
        wire.uplink.send(&segment(5555, 22, flag::SYN).over6(&inward()), Offload::None);
        wire.uplink.send(&segment(80, 40_000, flag::ACK).over6(&inward()), Offload::None);
        wire.uplink.send(&segment(5555, 443, flag::SYN).over6(&inward()), Offload::None);
        let arrived = wire.tunnel.receive();
        assert_eq!(read_ip6(&arrived).2[..4], [0x15, 0xb3, 1, 0xbb], "the last one alone");
        assert_eq!(wire.drops(DropReason::PolicyClosed), before + 2);
        wire.tunnel.send(&segment(40_000, 80, flag::SYN).over6(&outward()), Offload::None);
        wire.uplink.receive();
        wire.uplink.send(&segment(80, 40_000, flag::ACK).over6(&inward()), Offload::None);
        assert_eq!(read_ip6(&wire.tunnel.receive()).2[..2], [0, 80]);
        wire.uplink.send(&inward().icmp(2, &[0; 44]), Offload::None);
        assert_eq!(read_ip6(&wire.tunnel.receive()).1, ICMPV6);
        wire.govern(&denying(&["2001:db8:c::/48"], &[]));
        wire.uplink.send(&segment(5555, 443, flag::SYN).over6(&inward()), Offload::None);
        wire.uplink.send(&inward().icmp(2, &[0; 44]), Offload::None);
        assert_eq!(read_ip6(&wire.tunnel.receive()).1, ICMPV6);
        assert_eq!(wire.drops(DropReason::ClientDenied), 1);
    });
}
