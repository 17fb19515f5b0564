//! Packets whose ports are hard to find: behind extension headers, in fragments, or in what the kernel would forward.

use super::{CLOSED, DESTINATION, HOP_BY_HOP, TCP, closed, fate_in, inward, piece, segment};
use crate::bench::{Fate, bench};
use crate::frame::{Ip6, Tcp, flag};
use crate::place::MTU;

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
