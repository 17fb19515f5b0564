//! The MSS of a forwarded IPv6 SYN is lowered to what the narrowest of our devices on its way carries.

use crate::bench::{Fate, bench};
use crate::frame::{Ip6, Tcp, flag, read_ip6, read6, unpadded};
use crate::place::{self, BACKEND, OTHER_SITE, WORLD};
use crate::test_run::Skb;

fn option(mss: u16) -> Vec<u8> {
    [&[2, 4][..], &mss.to_be_bytes()].concat()
}

fn syn(flags: u8, options: &[u8]) -> Tcp {
    Tcp { flags, options: options.to_vec(), ..Tcp::default() }
}

fn inward() -> Ip6 {
    Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() }
}

fn outward() -> Ip6 {
    Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() }
}

/// Both ways it is the tunnel (1420) that counts, between sites the narrower of the two (1280).
#[test]
fn lowered_to_the_narrowest() {
    let mut bench = bench();
    let across = Ip6 { destination: OTHER_SITE, ..outward() };
    for flags in [flag::SYN, flag::SYN | flag::ACK] {
        for (mss, near, far) in [
            (1460, 1360, 1220),
            (1361, 1360, 1220),
            (1360, 1360, 1220),
            (1220, 1220, 1220),
            (536, 536, 536),
            (0, 0, 0),
            (65_535, 1360, 1220),
        ] {
            let before = syn(flags, &option(mss));
            let seen = bench.uplink(&before.over6(&inward()));
            assert_eq!(read6(seen.sent()).1, syn(flags, &option(near)));
            let seen = bench.tunnel(&before.over6(&outward()));
            assert_eq!(read6(seen.sent()).1, syn(flags, &option(near)));
            let seen = bench.tunnel(&before.over6(&across));
            assert_eq!(read6(seen.sent()).1, syn(flags, &option(far)));
        }
    }
}

/// An uplink can be narrower than a tunnel that fragments.
#[test]
fn lowered_to_the_uplink() {
    let mut bench = bench();
    bench.devices.set_uplink(place::device(9001, 1280, true)).unwrap();
    let before = syn(flag::SYN, &option(1460));
    let seen = bench.uplink(&before.over6(&inward()));
    assert_eq!(read6(seen.sent()).1, syn(flag::SYN, &option(1220)));
    let seen = bench.tunnel(&before.over6(&outward()));
    assert_eq!(read6(seen.sent()).1, syn(flag::SYN, &option(1220)));
}

/// At an odd offset its octets belong to two words of the checksum.
#[test]
fn wherever_it_stands() {
    let mut bench = bench();
    for nops in 0..=36usize {
        let area = |mss: u16| {
            let mut area = [vec![1; nops], option(mss)].concat();
            area.resize(area.len().next_multiple_of(4), 0);
            area
        };
        let seen = bench.uplink(&syn(flag::SYN, &area(9000)).over6(&inward()));
        assert_eq!(read6(seen.sent()).1, syn(flag::SYN, &area(1360)), "{nops}");
    }
    let behind = [&[3, 3, 7, 254, 5, 1, 2, 3][..], &option(9000)].concat();
    let seen = bench.uplink(&syn(flag::SYN, &behind).over6(&inward()));
    assert_eq!(read6(seen.sent()).1.options, [&behind[..8], &option(1360)].concat());
}

#[test]
fn left_alone() {
    let mut bench = bench();
    let cases: &[(&str, u8, &[u8])] = &[
        ("no SYN", flag::ACK, &[2, 4, 0x23, 0]),
        ("behind the end", flag::SYN, &[0, 2, 4, 0x23, 0, 0, 0, 0]),
        ("wrong length", flag::SYN, &[2, 5, 0x23, 0, 0, 0, 0, 0]),
        ("cut off", flag::SYN, &[1, 1, 2, 4]),
        ("length 0", flag::SYN, &[9, 0, 2, 4, 0x23, 0, 0, 0]),
        ("length 1", flag::SYN, &[9, 1, 2, 4, 0x23, 0, 0, 0]),
        ("inside another", flag::SYN, &[9, 8, 2, 4, 0x23, 0, 0, 0]),
        ("none", flag::SYN, &[]),
        ("full of NOPs", flag::SYN, &[1; 40]),
    ];
    for (name, flags, options) in cases {
        let segment = syn(*flags, options);
        for packet in [segment.over6(&inward()), segment.over6(&outward())] {
            let into = packet == segment.over6(&inward());
            let seen = if into { bench.uplink(&packet) } else { bench.tunnel(&packet) };
            assert_eq!(read6(seen.sent()).1, segment, "{name}");
        }
    }
}

/// Headers that end before the options do are for the receiver to judge.
#[test]
fn cut_short() {
    let mut bench = bench();
    let whole = syn(flag::SYN, &option(9000)).over6(&inward());
    for len in 41..whole.len() {
        let mut packet = whole[..len].to_vec();
        packet[5] = (len - 40) as u8;
        let seen = bench.uplink_frame(&unpadded(&packet), Skb::default());
        assert_eq!(read_ip6(seen.sent()).2, &packet[40..], "{len}");
    }
    for words in 0..5 {
        let mut packet = whole.clone();
        packet[52] = words << 4;
        let seen = bench.uplink_frame(&unpadded(&packet), Skb::default());
        assert_eq!(read_ip6(seen.sent()).2, &packet[40..], "{words}");
    }
}

/// An MTU too small to carry any TCP clamps nothing to nonsense, one above 64 KiB neither.
#[test]
fn absurd_mtus() {
    let mut bench = bench();
    let packet = syn(flag::SYN, &option(1460)).over6(&outward());
    for (mtu, mss) in [(60, None), (100_000, Some(1360))] {
        bench.devices.set_uplink(place::device(9001, mtu, true)).unwrap();
        let seen = bench.tunnel(&packet);
        match mss {
            None => assert_eq!(seen.fate, Fate::Kernel),
            Some(mss) => assert_eq!(read6(seen.sent()).1.options, option(mss)),
        }
    }
}
