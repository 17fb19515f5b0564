//! Packets, built field by field and read back. Whoever reads one has every length and checksum in it
//! checked, by sums made from scratch.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::segment::checksum;
pub use crate::segment::flag;
pub use ingress_common::ip::{ICMPV6, TCP, UDP};

/// Length of an Ethernet header.
pub const ETHERNET: usize = 14;
/// "May be fragmented: no".
pub const DF: u16 = 0x4000;
/// "More fragments follow".
pub const MF: u16 = 0x2000;
/// Ethernet address of the loopback device, on which every test run takes place.
const OURS: [u8; 6] = [0; 6];
/// Ethernet address of the router that sends us everything.
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The shortest frame on a wire, without checksum.
const SHORTEST: usize = 60;

/// A TCP header with its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// The four bits beside the data offset; the lowest is AE (RFC 9768).
    pub reserved: u8,
    /// See [`flag`].
    pub flags: u8,
    /// As in the header, not scaled.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// As they stand in the header, padding included.
    pub options: Vec<u8>,
    /// Data.
    pub payload: Vec<u8>,
}

/// An IPv4 header; lengths and checksum follow from what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip4 {
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Flags and offset.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
    /// As they stand in the header, padding included.
    pub options: Vec<u8>,
}

/// An IPv6 header; its length follows from what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip6 {
    /// Traffic class.
    pub class: u8,
    /// Flow label.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// From.
    pub source: Ipv6Addr,
    /// To.
    pub destination: Ipv6Addr,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            source: 0,
            destination: 0,
            seq: 0,
            ack: 0,
            reserved: 0,
            flags: 0,
            window: 1000,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }
}

impl Default for Ip4 {
    fn default() -> Self {
        Self {
            tos: 0,
            id: 0,
            fragment: DF,
            ttl: 64,
            source: Ipv4Addr::UNSPECIFIED,
            destination: Ipv4Addr::UNSPECIFIED,
            options: Vec::new(),
        }
    }
}

impl Default for Ip6 {
    fn default() -> Self {
        Self {
            class: 0,
            flow_label: 0,
            hop_limit: 64,
            source: Ipv6Addr::UNSPECIFIED,
            destination: Ipv6Addr::UNSPECIFIED,
        }
    }
}

impl Tcp {
    /// The segment in an IPv4 packet.
    pub fn over4(&self, ip: &Ip4) -> Vec<u8> {
        ip.around(TCP, &self.bytes(&pseudo4(ip, self.len())))
    }

    /// The segment in an IPv6 packet.
    pub fn over6(&self, ip: &Ip6) -> Vec<u8> {
        ip.around(TCP, &self.bytes(&pseudo6(ip, TCP, self.len())))
    }

    fn len(&self) -> usize {
        20 + self.options.len() + self.payload.len()
    }

    fn bytes(&self, pseudo: &[u8]) -> Vec<u8> {
        assert!(self.options.len() <= 40 && self.options.len().is_multiple_of(4));
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.push(((5 + self.options.len() / 4) as u8) << 4 | self.reserved);
        bytes.push(self.flags);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        let sum = checksum(&[pseudo, &bytes].concat());
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8], pseudo: &[u8]) -> Self {
        assert_eq!(checksum(&[pseudo, bytes].concat()), 0, "TCP checksum");
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let number = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
        let header = usize::from(bytes[12] >> 4) * 4;
        Self {
            source: word(0),
            destination: word(2),
            seq: number(4),
            ack: number(8),
            reserved: bytes[12] & 15,
            flags: bytes[13],
            window: word(14),
            urgent: word(18),
            options: bytes[20..header].to_vec(),
            payload: bytes[header..].to_vec(),
        }
    }
}

impl Ip4 {
    /// The packet that carries `payload`.
    pub fn around(&self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut packet = vec![0x40 | (header / 4) as u8, self.tos];
        packet.extend(((header + payload.len()) as u16).to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.ttl, protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.options);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

impl Ip6 {
    /// The packet that carries `payload`.
    pub fn around(&self, next_header: u8, payload: &[u8]) -> Vec<u8> {
        let first = 6 << 28 | u32::from(self.class) << 20 | self.flow_label;
        let mut packet = first.to_be_bytes().to_vec();
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([next_header, self.hop_limit]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(payload);
        packet
    }

    /// The packet that carries an ICMPv6 message.
    pub fn icmp(&self, kind: u8, rest: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, 0, 0, 0];
        message.extend(rest);
        let sum = checksum(&[&pseudo6(self, ICMPV6, message.len()), message.as_slice()].concat());
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.around(ICMPV6, &message)
    }
}

/// A UDP datagram for an IPv6 packet.
pub fn udp6(ip: &Ip6, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let len = 8 + payload.len();
    let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    bytes.extend((len as u16).to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(payload);
    // A sum of zero would say that there is none (RFC 8200 §8.1).
    let sum = match checksum(&[&pseudo6(ip, UDP, len), bytes.as_slice()].concat()) {
        0 => 0xffff,
        sum => sum,
    };
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// Reads TCP over IPv4, and checks it.
pub fn read4(packet: &[u8]) -> (Ip4, Tcp) {
    assert_eq!(packet[0], 0x45, "version and header length");
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!(usize::from(word(2)), packet.len(), "IPv4 total length");
    assert_eq!(checksum(&packet[..20]), 0, "IPv4 checksum");
    assert_eq!(packet[9], TCP);
    let address = |at: usize| Ipv4Addr::from(packet[at..].first_chunk::<4>().copied().unwrap());
    let ip = Ip4 {
        tos: packet[1],
        id: word(4),
        fragment: word(6),
        ttl: packet[8],
        source: address(12),
        destination: address(16),
        options: Vec::new(),
    };
    let tcp = Tcp::read(&packet[20..], &pseudo4(&ip, packet.len() - 20));
    (ip, tcp)
}

/// Reads TCP over IPv6, and checks it.
pub fn read6(packet: &[u8]) -> (Ip6, Tcp) {
    let (ip, next_header, payload) = read_ip6(packet);
    assert_eq!(next_header, TCP);
    let tcp = Tcp::read(payload, &pseudo6(&ip, TCP, payload.len()));
    (ip, tcp)
}

/// Reads an IPv6 header; what it carries comes with it.
pub fn read_ip6(packet: &[u8]) -> (Ip6, u8, &[u8]) {
    let first = u32::from_be_bytes(packet[..4].try_into().unwrap());
    assert_eq!(first >> 28, 6, "version");
    let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    assert_eq!(40 + len, packet.len(), "IPv6 payload length");
    let address = |at: usize| Ipv6Addr::from(packet[at..].first_chunk::<16>().copied().unwrap());
    let ip = Ip6 {
        class: (first >> 20) as u8,
        flow_label: first & 0xf_ffff,
        hop_limit: packet[7],
        source: address(8),
        destination: address(24),
    };
    (ip, packet[6], &packet[40..])
}

/// The packet in an Ethernet frame to us, padded as it is on a wire.
pub fn ethernet(packet: &[u8]) -> Vec<u8> {
    let mut frame = unpadded(packet);
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}

/// The packet in an Ethernet frame to us, as virtual devices deliver it.
pub fn unpadded(packet: &[u8]) -> Vec<u8> {
    let kind = if packet.first().is_some_and(|first| first >> 4 == 6) { 0x86dd } else { 0x0800u16 };
    [&OURS, &THEIRS, kind.to_be_bytes().as_slice(), packet].concat()
}

/// Whether the frame goes back to whom it came from.
pub fn is_turned(frame: &[u8]) -> bool {
    frame[..6] == THEIRS && frame[6..12] == OURS && frame[12..14] == [8, 0]
}

fn pseudo4(ip: &Ip4, len: usize) -> Vec<u8> {
    let mut pseudo = [ip.source.octets(), ip.destination.octets()].concat();
    pseudo.extend([0, TCP]);
    pseudo.extend((len as u16).to_be_bytes());
    pseudo
}

fn pseudo6(ip: &Ip6, next_header: u8, len: usize) -> Vec<u8> {
    let mut pseudo = [ip.source.octets(), ip.destination.octets()].concat();
    pseudo.extend((len as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, next_header]);
    pseudo
}
