//! The VPS's own TCP stack never hears of a listed port, whatever is sent there.
//!
//! The measure is the kernel's own: TCP's counter of received segments in the VPS's namespace.

use anyhow::Result;
use ingress_tests::Lab;
use ingress_tests::addresses::{RAW_CLIENT4, VPS4, WWW};
use ingress_tests::hello::Hello;
use ingress_tests::rawclient::{RawLink, USUAL_OPTIONS};
use ingress_tests::segment::{Segment, checksum, flag, packet4};
use ingress_tests::shared::stage;
use std::net::SocketAddrV4;
use std::thread;
use std::time::Duration;

const LISTED: [u16; 3] = [443, 8443, 5432];
const UNLISTED: u16 = 2222;

#[test]
fn nothing_sent_to_a_listed_port_reaches_the_host() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let before = host_tcp(&stage.lab)?;
    for port in LISTED {
        for packet in odd_packets(port) {
            link.send(&packet)?;
        }
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(host_tcp(&stage.lab)?, before);

    // Proof that the counter counts: a port that is not listed is the host's.
    for packet in odd_packets(UNLISTED) {
        link.send(&packet)?;
    }
    thread::sleep(Duration::from_millis(200));
    let after = host_tcp(&stage.lab)?;
    assert!(after.in_segs > before.in_segs && after.out_rsts > before.out_rsts, "{after:?}");
    Ok(())
}

#[test]
fn whole_connections_and_refused_ones_do_not_reach_the_host_either() -> Result<()> {
    let stage = stage();
    let before = host_tcp(&stage.lab)?;
    for name in [WWW, "unknown.example.test", "db.example.test"] {
        stage.by_name(name, "/")?.args(&["--max-time", "5"]).run()?;
    }
    let link = RawLink::open(&stage.lab)?;
    let remote = SocketAddrV4::new(VPS4, 443);
    // Connects and vanishes; connects, speaks half and vanishes; speaks no TLS at all.
    link.connect(41_000, remote, 7, USUAL_OPTIONS)?;
    let half = link.connect(41_001, remote, 7, USUAL_OPTIONS)?;
    link.data(&half, 0, &Hello::for_name(WWW).bytes()[..40])?;
    let rude = link.connect(41_002, remote, 7, USUAL_OPTIONS)?;
    link.data(&rude, 0, b"GET / HTTP/1.0\r\n\r\n")?;
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(host_tcp(&stage.lab)?, before);
    Ok(())
}

#[test]
fn a_syn_is_answered_with_what_it_offers_and_never_with_a_zero_window() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let with_timestamps: &[u8] = &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    for (port, options) in [(41_100, USUAL_OPTIONS), (41_101, with_timestamps), (41_102, &[])] {
        let connection = link.connect(port, SocketAddrV4::new(VPS4, 443), 99, options)?;
        let syn_ack = &connection.syn_ack;
        assert!(syn_ack.window > 0);
        let stamps = syn_ack.option(8).map(|stamps| &stamps[4..]);
        let expected = (port == 41_101).then_some(&[0, 0, 0, 1][..]);
        assert_eq!(stamps, expected, "timestamps only if asked, with the client's own in return");
        assert_eq!(syn_ack.option(3).is_some(), !options.is_empty(), "window scale only if asked");
        assert_eq!(syn_ack.option(4).is_some(), !options.is_empty(), "SACK only if asked");
    }
    Ok(())
}

/// What port scanners and broken middleboxes send.
fn odd_packets(port: u16) -> Vec<Vec<u8>> {
    let from = SocketAddrV4::new(RAW_CLIENT4, 42_000);
    let to = SocketAddrV4::new(VPS4, port);
    let plain = |flags: u8, payload: &[u8]| Segment {
        source: from.into(),
        destination: to.into(),
        hops: 64,
        seq: 1000,
        ack: 2000,
        flags,
        window: 1024,
        options: Vec::new(),
        payload: payload.to_vec(),
    };
    let hello = Hello::for_name(WWW).bytes();
    let mut packets: Vec<Vec<u8>> = [
        plain(flag::SYN, b""),
        plain(flag::SYN, &hello),
        plain(flag::SYN | flag::ACK, b""),
        plain(flag::SYN | flag::FIN, b""),
        plain(flag::SYN | flag::RST, b""),
        plain(flag::ACK, b""),
        plain(flag::ACK | flag::PSH, &hello),
        plain(flag::ACK | flag::FIN, b""),
        plain(flag::FIN, b""),
        plain(flag::RST, b""),
        plain(flag::RST | flag::ACK, b""),
        plain(0, b""),
        plain(0xff, b""),
        Segment { options: vec![2, 0, 0, 0], ..plain(flag::SYN, b"") },
        Segment { options: vec![3, 3, 255, 0], ..plain(flag::SYN, b"") },
        Segment { hops: 3, ..plain(flag::SYN, b"") },
    ]
    .iter()
    .map(|segment| packet4(from, to, segment))
    .collect();

    let whole = packet4(from, to, &plain(flag::SYN, &[0; 64]));
    packets.push(with_ip(&whole, |packet| packet[6] = 0x20)); // first fragment
    packets.push(with_tcp(&whole, |tcp| tcp[12] = 0x40)); // header too short
    packets.push(with_tcp(&whole, |tcp| tcp[12] = 0xf0)); // header full of zero options
    packets.push(with_tcp(&whole[..40], |tcp| tcp[12] = 0xf0)); // header longer than the packet
    packets.push(with_tcp(&whole, |tcp| tcp[16] ^= 0x55)); // wrong checksum
    packets.push(with_ip_options(&whole));
    packets
}

fn with_tcp(packet: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut packet = packet.to_vec();
    change(&mut packet[20..]);
    packet
}

fn with_ip(packet: &[u8], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut packet = packet.to_vec();
    change(&mut packet);
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn with_ip_options(packet: &[u8]) -> Vec<u8> {
    let mut longer = packet[..20].to_vec();
    longer.extend([1, 1, 1, 0]); // three times "no operation", end
    longer.extend(&packet[20..]);
    longer[0] = 0x46;
    let total = u16::try_from(longer.len()).expect("short");
    longer[2..4].copy_from_slice(&total.to_be_bytes());
    longer[10..12].fill(0);
    let sum = checksum(&longer[..24]);
    longer[10..12].copy_from_slice(&sum.to_be_bytes());
    longer
}

#[derive(Debug, Eq, PartialEq)]
struct HostTcp {
    in_segs: u64,
    passive_opens: u64,
    out_rsts: u64,
}

fn host_tcp(lab: &Lab) -> Result<HostTcp> {
    let counter = |name| lab.vps.tcp_counter(name);
    Ok(HostTcp {
        in_segs: counter("InSegs")?,
        passive_opens: counter("PassiveOpens")?,
        out_rsts: counter("OutRsts")?,
    })
}
