//! ICMP errors, read and made.

use crate::segment::{Segment, checksum};
use std::net::{Ipv4Addr, Ipv6Addr};

/// An ICMP error as it was captured.
#[derive(Debug)]
pub struct Told<A> {
    /// Who reports it.
    pub from: A,
    /// ICMP's type.
    pub kind: u8,
    /// And code.
    pub code: u8,
    /// The second word of the header.
    pub detail: u32,
    /// The packet that it is about.
    pub quoted: Segment,
}

/// The ICMP errors among packets.
#[must_use]
pub fn errors4(packets: &[Vec<u8>]) -> Vec<Told<Ipv4Addr>> {
    let read = |packet: &Vec<u8>| {
        let icmp = packet.get(20..)?;
        (packet[0] == 0x45 && packet[9] == 1).then_some(())?;
        let from = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[12..16]).ok()?);
        told(from, icmp)
    };
    packets.iter().filter_map(read).collect()
}

/// The ICMPv6 errors among packets.
#[must_use]
pub fn errors6(packets: &[Vec<u8>]) -> Vec<Told<Ipv6Addr>> {
    let read = |packet: &Vec<u8>| {
        let icmp = packet.get(40..)?;
        (packet[0] >> 4 == 6 && packet[6] == 58 && icmp[0] < 128).then_some(())?;
        let from = Ipv6Addr::from(<[u8; 16]>::try_from(&packet[8..24]).ok()?);
        told(from, icmp)
    };
    packets.iter().filter_map(read).collect()
}

fn told<A>(from: A, icmp: &[u8]) -> Option<Told<A>> {
    let detail = u32::from_be_bytes(icmp.get(4..8)?.try_into().ok()?);
    let quoted = Segment::read(&icmp[8..])?;
    Some(Told { from, kind: icmp[0], code: icmp[1], detail, quoted })
}

/// An ICMP error over IPv4 about a packet.
#[must_use]
pub fn error4(from: Ipv4Addr, to: Ipv4Addr, header: [u8; 4], quoted: &[u8]) -> Vec<u8> {
    let [kind, code, a, b] = header;
    let mut icmp = vec![kind, code, 0, 0, 0, 0, a, b];
    icmp.extend(&quoted[..quoted.len().min(548)]);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let total = u16::try_from(20 + icmp.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 1, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(icmp);
    with_header(packet, |_| {})
}

/// An IPv4 packet with a changed header, whose checksum is right.
#[must_use]
pub fn with_header(mut packet: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut packet[..20]);
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// An IPv4 packet in two pieces, of which the first has so many octets of payload (a multiple of eight).
#[must_use]
pub fn fragments(packet: &[u8], cut: u16) -> [Vec<u8>; 2] {
    let (header, payload) = packet.split_at(20);
    let (first, second) = payload.split_at(usize::from(cut));
    [(first, 0x2000), (second, cut / 8)].map(|(piece, place)| {
        let packet = [header, piece].concat();
        let total = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes();
        with_header(packet, |header| {
            header[2..4].copy_from_slice(&total);
            header[4..6].copy_from_slice(&[0x12, 0x34]);
            header[6..8].copy_from_slice(&place.to_be_bytes());
        })
    })
}
