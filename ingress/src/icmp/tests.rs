use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use ingress_common::{
    addr::Nat46Prefix,
    checksum::pseudo_v6,
    tcp::{Flags, Seq, Timestamps},
};

use super::*;
use crate::{handshake::Segment, wire};

const DELTA: u32 = 0xdead_beef;
const TS_DELTA: u32 = 0xfeed_f00d;
const MTUS: Mtus = Mtus { uplink: 1500, tunnel: 1420 };

fn flow() -> Spliced {
    Spliced {
        client: [192, 0, 2, 2],
        listen: [198, 51, 100, 2],
        backend: "2001:db8:1:0:1::80".parse::<Ipv6Addr>().unwrap().octets(),
        source: "64:ff9b:1::c000:202".parse::<Ipv6Addr>().unwrap().octets(),
        delta: DELTA,
        ts_delta: Some(TS_DELTA),
        mss: None,
    }
}

fn prefix() -> Nat46Prefix {
    Nat46Prefix::new("64:ff9b:1::".parse::<Ipv6Addr>().unwrap().octets(), 96).unwrap()
}

fn segment(seq: u32, ack: u32, value: u32, echo: u32) -> Segment {
    Segment {
        timestamps: Some(Timestamps { value, echo }),
        seq: Seq(seq),
        ack: Seq(ack),
        flags: Flags::ACK,
        window: 500,
        payload: vec![7; 1000],
        ..Segment::default()
    }
}

fn v4(from: [u8; 4], from_port: u16, to: [u8; 4], to_port: u16, segment: &Segment) -> Vec<u8> {
    let from = SocketAddrV4::new(from.into(), from_port);
    wire::build_v4(from, SocketAddrV4::new(to.into(), to_port), segment)
}

fn v6(from: [u8; 16], from_port: u16, to: [u8; 16], to_port: u16, segment: &Segment) -> Vec<u8> {
    let from = SocketAddrV6::new(from.into(), from_port, 0, 0);
    wire::build_v6(from, SocketAddrV6::new(to.into(), to_port, 0, 0), segment)
}

/// The client's packet, as it sent it and as the backend gets it.
fn from_client() -> (Vec<u8>, Vec<u8>) {
    let flow = flow();
    let sent = v4(flow.client, 40000, flow.listen, 443, &segment(1000, 2000, 50, 60));
    let arrives = segment(1000, 2000u32.wrapping_sub(DELTA), 50, 60u32.wrapping_sub(TS_DELTA));
    (sent, v6(flow.source, 40000, flow.backend, 443, &arrives))
}

/// The backend's packet, as it sent it and as the client gets it.
fn from_backend() -> (Vec<u8>, Vec<u8>) {
    let flow = flow();
    let sent = v6(flow.backend, 443, flow.source, 40000, &segment(3000, 4000, 70, 80));
    let arrives = segment(3000u32.wrapping_add(DELTA), 4000, 70u32.wrapping_add(TS_DELTA), 80);
    (sent, v4(flow.listen, 443, flow.client, 40000, &arrives))
}

fn router() -> [u8; 16] {
    "fd00:77::1".parse::<Ipv6Addr>().unwrap().octets()
}

fn v6_error(kind: u8, code: u8, detail: u32) -> Vec<u8> {
    let error = Error { kind, code, detail: detail.to_be_bytes() };
    error.over_v6(router(), flow().source, &from_client().1)
}

fn v4_error(kind: u8, code: u8, detail: [u8; 4]) -> Vec<u8> {
    let error = Error { kind, code, detail };
    error.over_v4([203, 0, 113, 9], flow().listen, &from_backend().1)
}

fn assert_v4_checksums(packet: &[u8]) {
    assert_eq!(Sum::default().run(&packet[..IPV4_LEN]).fold(), 0xffff);
    assert_eq!(Sum::default().run(&packet[IPV4_LEN..]).fold(), 0xffff);
    assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
}

#[test]
fn packet_too_big_tells_the_client_twenty_less_in_its_own_numbers() {
    let error = v6_error(2, 0, 1300);
    let key = QuotedV6::of(&error).unwrap().key();
    assert_eq!((key.backend, key.source), (flow().backend, flow().source));
    let told = to_v4(&error, &flow(), MTUS).unwrap();
    assert_v4_checksums(&told);
    assert_eq!((told[IPV4_LEN], told[IPV4_LEN + 1]), (3, 4));
    assert_eq!(told[IPV4_LEN + 4..IPV4_LEN + 8], [0, 0, 0x05, 0x00]);
    assert_eq!(told[12..20], [flow().listen, flow().client].concat());
    let (sent, _) = from_client();
    let quoted = &told[IPV4_LEN + ICMP_LEN..];
    // Everything as it was sent; identification and the like are not ours to know, and are zero.
    assert_eq!(quoted[IPV4_LEN..], sent[IPV4_LEN..IPV4_LEN + quoted.len() - IPV4_LEN]);
    assert_eq!(quoted[2..4], sent[2..4]);
    assert_eq!(quoted[12..20], sent[12..20]);
    assert!(told.len() <= LONGEST_V4);
}

#[test]
fn fragmentation_needed_tells_the_backend_twenty_more_in_its_own_numbers() {
    let error = v4_error(3, 4, [0, 0, 0x05, 0x50]);
    let key = QuotedV4::of(&error).unwrap().key();
    assert_eq!((key.client, key.listen), (flow().client, flow().listen));
    let told = to_v6(&error, &flow(), &prefix(), MTUS).unwrap();
    let len = (told.len() - IPV6_LEN) as u16;
    let (from, to) = (told[8..24].try_into().unwrap(), told[24..40].try_into().unwrap());
    let sum = pseudo_v6(&from, &to, ICMPV6, len).plus(Sum::default().run(&told[IPV6_LEN..]));
    assert_eq!(sum.fold(), 0xffff);
    assert_eq!((told[IPV6_LEN], told[IPV6_LEN + 1]), (2, 0));
    assert_eq!(told[IPV6_LEN + 4..IPV6_LEN + 8], (0x550u32 + 20).to_be_bytes());
    assert_eq!(from, prefix().embed([203, 0, 113, 9]));
    assert_eq!(to, flow().backend);
    let (sent, _) = from_backend();
    let quoted = &told[IPV6_LEN + ICMP_LEN..];
    assert_eq!(quoted, &sent[..quoted.len()]);
}

#[test]
fn the_mtu_has_bounds() {
    let mtu = |detail, mtus| {
        let told = to_v6(&v4_error(3, 4, detail), &flow(), &prefix(), mtus).unwrap();
        u32::from_be_bytes(told[IPV6_LEN + 4..IPV6_LEN + 8].try_into().unwrap())
    };
    assert_eq!(mtu([0, 0, 0x02, 0x40], MTUS), 1280, "never below IPv6's least");
    assert_eq!(mtu([0, 0, 0x05, 0xdc], MTUS), 1420, "never above the tunnel's");
    let narrow = Mtus { uplink: 1300, tunnel: 1420 };
    assert_eq!(mtu([0, 0, 0x05, 0xdc], narrow), 1320, "nor above the uplink's");
    assert_eq!(mtu([0, 0, 0, 0], MTUS), 1280, "an old router: the plateau below the packet");
    for (uplink, tunnel, bound) in [(1500, 1420, 1400u16), (1300, 1420, 1300)] {
        let told = to_v4(&v6_error(2, 0, 9000), &flow(), Mtus { uplink, tunnel }).unwrap();
        assert_eq!(told[IPV4_LEN + 6..IPV4_LEN + 8], bound.to_be_bytes());
    }
}

#[test]
fn types_and_codes_follow_the_rfc() {
    let v4_of = |kind, code, detail| {
        to_v4(&v6_error(kind, code, detail), &flow(), MTUS)
            .map(|p| (p[IPV4_LEN], p[IPV4_LEN + 1], p[IPV4_LEN + 4]))
    };
    assert_eq!(v4_of(1, 0, 0), Some((3, 1, 0)));
    assert_eq!(v4_of(1, 1, 0), Some((3, 10, 0)));
    assert_eq!(v4_of(1, 2, 0), Some((3, 1, 0)));
    assert_eq!(v4_of(1, 3, 0), Some((3, 1, 0)));
    assert_eq!(v4_of(1, 4, 0), Some((3, 3, 0)));
    assert_eq!(v4_of(1, 5, 0), None);
    assert_eq!(v4_of(3, 0, 0), Some((11, 0, 0)));
    assert_eq!(v4_of(3, 1, 0), Some((11, 1, 0)));
    assert_eq!(v4_of(4, 0, 7), Some((12, 0, 8)));
    assert_eq!(v4_of(4, 0, 2), None);
    assert_eq!(v4_of(4, 1, 0), Some((3, 2, 0)));
    assert_eq!(v4_of(4, 2, 0), None);
    assert_eq!(v4_of(128, 0, 0), None);

    let v6_of = |kind, code, detail| {
        to_v6(&v4_error(kind, code, detail), &flow(), &prefix(), MTUS)
            .map(|p| (p[IPV6_LEN], p[IPV6_LEN + 1], p[IPV6_LEN + 7]))
    };
    for code in [0, 1, 5, 6, 7, 8, 11, 12] {
        assert_eq!(v6_of(3, code, [0; 4]), Some((1, 0, 0)));
    }
    assert_eq!(v6_of(3, 2, [0; 4]), Some((4, 1, 6)));
    assert_eq!(v6_of(3, 3, [0; 4]), Some((1, 4, 0)));
    for code in [9, 10, 13, 15] {
        assert_eq!(v6_of(3, code, [0; 4]), Some((1, 1, 0)));
    }
    assert_eq!(v6_of(3, 14, [0; 4]), None);
    assert_eq!(v6_of(11, 0, [0; 4]), Some((3, 0, 0)));
    assert_eq!(v6_of(12, 0, [8, 0, 0, 0]), Some((4, 0, 7)));
    assert_eq!(v6_of(12, 1, [0; 4]), None);
    assert_eq!(v6_of(5, 0, [0; 4]), None, "a redirect");
}

#[test]
fn our_own_errors_quote_what_came() {
    let (sent, _) = from_client();
    let told = too_big_for_client(&sent, 1380).unwrap();
    assert_v4_checksums(&told);
    assert_eq!(told[IPV4_LEN + 6..IPV4_LEN + 8], 1360u16.to_be_bytes());
    assert_eq!(
        Ipv4Addr::from([told[16], told[17], told[18], told[19]]),
        Ipv4Addr::new(192, 0, 2, 2)
    );
    assert_eq!(told[IPV4_LEN + ICMP_LEN..], sent[..LONGEST_V4 - IPV4_LEN - ICMP_LEN]);
    let (sent, _) = from_backend();
    let told = too_big_for_backend(&sent, 1400, prefix().embed(flow().listen)).unwrap();
    assert_eq!(told[IPV6_LEN + 4..IPV6_LEN + 8], 1420u32.to_be_bytes());
    assert_eq!(told[24..40], flow().backend);
}

#[test]
fn damage_is_noticed() {
    let (v4, v6) = (v4_error(3, 4, [0, 0, 5, 0]), v6_error(2, 0, 1300));
    assert!(is_intact_v4(&v4) && is_intact_v6(&v6));
    let padded = |packet: &[u8]| [packet, &[9; 7]].concat();
    assert!(is_intact_v4(&padded(&v4)) && is_intact_v6(&padded(&v6)), "the link may pad");
    for at in 0..60 {
        let (mut four, mut six) = (v4.clone(), v6.clone());
        four[IPV4_LEN + at] ^= 4;
        six[IPV6_LEN + at] ^= 4;
        assert!(!is_intact_v4(&four) && !is_intact_v6(&six), "octet {at}");
    }
    for len in 0..60 {
        assert!(!is_intact_v4(&v4[..len]) && !is_intact_v6(&v6[..len]));
    }
}

#[test]
fn what_quotes_too_little_is_no_error() {
    let error = v6_error(2, 0, 1300);
    for len in 0..IPV6_LEN + ICMP_LEN + IPV6_LEN + 8 {
        assert!(to_v4(&error[..len], &flow(), MTUS).is_none());
    }
    let error = v4_error(3, 4, [0, 0, 5, 0]);
    for len in 0..IPV4_LEN + ICMP_LEN + IPV4_LEN + 8 {
        assert!(to_v6(&error[..len], &flow(), &prefix(), MTUS).is_none());
    }
}
