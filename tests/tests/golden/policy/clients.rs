//! Clients that are denied, by IPv6 and by IPv4.

use ingress::config::{Ipv6Policy, Policy};

use super::{DENIED, TCP, closed, denying, fate_in, goes_out, inward, outward, piece, segment};
use crate::bench::{Bench, Fate, bench};
use crate::frame::{Tcp, flag};
use crate::place::{self, client_segment, from_client};

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
