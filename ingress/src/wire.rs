//! Packets as the daemon reads and builds them: IPv4 or IPv6 with TCP.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use ingress_common::{
    checksum::{Sum, pseudo_v4, pseudo_v6},
    ip::{IPV4_LEN, IPV6_LEN, TCP},
    tcp::{Flags, HEADER_LEN, OPTION_BUFFER_LEN, Seq, SynOptions, Timestamps},
};

use crate::handshake::Segment;

/// Hop limit of what the daemon sends, as Linux has it.
const HOP_LIMIT: u8 = 64;

/// A TCP segment with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed<A> {
    /// Sender.
    pub source: A,
    /// Receiver.
    pub destination: A,
    /// The segment; its payload ends where the capture did.
    pub segment: Segment,
}

/// Reads an IPv4 packet; `len` is its full length, of which `packet` may be the beginning only.
///
/// `None` for anything but a whole, plain TCP header with a right checksum.
#[must_use]
pub fn read_v4(packet: &[u8], len: usize) -> Option<Addressed<SocketAddrV4>> {
    let header = packet.first_chunk::<IPV4_LEN>()?;
    if header[0] != 0x45 || header[9] != TCP {
        return None;
    }
    let source: [u8; 4] = header[12..16].try_into().ok()?;
    let destination: [u8; 4] = header[16..20].try_into().ok()?;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let tcp = packet.get(IPV4_LEN..packet.len().min(total))?;
    let pseudo =
        pseudo_v4(source, destination, TCP, u16::try_from(total.checked_sub(IPV4_LEN)?).ok()?);
    let (source_port, destination_port, segment) = read_tcp(tcp, pseudo, packet.len() >= len)?;
    Some(Addressed {
        source: SocketAddrV4::new(source.into(), source_port),
        destination: SocketAddrV4::new(destination.into(), destination_port),
        segment,
    })
}

/// Reads an IPv6 packet, as [`read_v4`].
#[must_use]
pub fn read_v6(packet: &[u8], len: usize) -> Option<Addressed<SocketAddrV6>> {
    let header = packet.first_chunk::<IPV6_LEN>()?;
    if header[0] >> 4 != 6 || header[6] != TCP {
        return None;
    }
    let source: [u8; 16] = header[8..24].try_into().ok()?;
    let destination: [u8; 16] = header[24..40].try_into().ok()?;
    let payload = u16::from_be_bytes([header[4], header[5]]);
    let tcp = packet.get(IPV6_LEN..packet.len().min(IPV6_LEN + usize::from(payload)))?;
    let pseudo = pseudo_v6(&source, &destination, TCP, payload);
    let (source_port, destination_port, segment) = read_tcp(tcp, pseudo, packet.len() >= len)?;
    Some(Addressed {
        source: SocketAddrV6::new(source.into(), source_port, 0, 0),
        destination: SocketAddrV6::new(destination.into(), destination_port, 0, 0),
        segment,
    })
}

fn read_tcp(tcp: &[u8], pseudo: Sum, whole: bool) -> Option<(u16, u16, Segment)> {
    let header = tcp.first_chunk::<HEADER_LEN>()?;
    let data = usize::from(header[12] >> 4) * 4;
    let options = tcp.get(HEADER_LEN..data)?;
    if whole && !checksum_holds(tcp, pseudo) {
        return None;
    }
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let number = |at: usize| Seq(u32::from(word(at)) << 16 | u32::from(word(at + 2)));
    let flags = Flags(header[13]);
    let segment = Segment {
        seq: number(4),
        ack: number(8),
        flags,
        window: word(14),
        options: if flags.contains(Flags::SYN) {
            SynOptions::parse(options)
        } else {
            SynOptions::default()
        },
        timestamps: Timestamps::parse(options),
        payload: tcp[data..].to_vec(),
    };
    Some((word(0), word(2), segment))
}

/// The data is about to get a new checksum, which would hide that it was damaged. A packet that never left
/// this machine, or that GRO merged, carries the sum of its pseudo-header alone.
fn checksum_holds(tcp: &[u8], pseudo: Sum) -> bool {
    let right = pseudo.plus(Sum::default().run(tcp)).fold() == 0xffff;
    right || u16::from_ne_bytes([tcp[16], tcp[17]]) == pseudo.fold()
}

/// Builds an IPv4 packet.
#[must_use]
pub fn build_v4(source: SocketAddrV4, destination: SocketAddrV4, segment: &Segment) -> Vec<u8> {
    let mut packet = vec![0; IPV4_LEN];
    let (from, to): (Ipv4Addr, Ipv4Addr) = (*source.ip(), *destination.ip());
    append_tcp(&mut packet, source.port(), destination.port(), segment, |len| {
        pseudo_v4(from.octets(), to.octets(), TCP, len)
    });
    let len = packet.len();
    write_v4(&mut packet, from.octets(), to.octets(), TCP, len);
    packet
}

/// Builds an IPv6 packet.
#[must_use]
pub fn build_v6(source: SocketAddrV6, destination: SocketAddrV6, segment: &Segment) -> Vec<u8> {
    let mut packet = vec![0; IPV6_LEN];
    let (from, to): (Ipv6Addr, Ipv6Addr) = (*source.ip(), *destination.ip());
    append_tcp(&mut packet, source.port(), destination.port(), segment, |len| {
        pseudo_v6(&from.octets(), &to.octets(), TCP, len)
    });
    let payload = (packet.len() - IPV6_LEN) as u16;
    write_v6(&mut packet, from.octets(), to.octets(), TCP, payload);
    packet
}

fn append_tcp(
    packet: &mut Vec<u8>,
    source: u16,
    destination: u16,
    segment: &Segment,
    pseudo: impl FnOnce(u16) -> Sum,
) {
    let start = packet.len();
    let mut options = [0; OPTION_BUFFER_LEN];
    let used = segment.options.emit(segment.timestamps, &mut options);
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    packet.extend(segment.seq.0.to_be_bytes());
    packet.extend(segment.ack.0.to_be_bytes());
    packet.push((((HEADER_LEN + used) / 4) << 4) as u8);
    packet.push(segment.flags.0);
    packet.extend(segment.window.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(&options[..used]);
    packet.extend(&segment.payload);
    let tcp = &packet[start..];
    let checksum = pseudo(tcp.len() as u16).plus(Sum::default().run(tcp)).checksum();
    packet[start + 16..start + 18].copy_from_slice(&checksum);
}

/// Fills in an IPv4 header at the start of `packet`, for a packet of `len` octets.
pub fn write_v4(packet: &mut [u8], from: [u8; 4], to: [u8; 4], protocol: u8, len: usize) {
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet[6] = 0x40;
    packet[8] = HOP_LIMIT;
    packet[9] = protocol;
    packet[10..12].fill(0);
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    let checksum = Sum::default().run(&packet[..IPV4_LEN]).checksum();
    packet[10..12].copy_from_slice(&checksum);
}

/// Fills in an IPv6 header at the start of `packet`, for a payload of `len` octets.
pub fn write_v6(packet: &mut [u8], from: [u8; 16], to: [u8; 16], protocol: u8, len: u16) {
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet[6] = protocol;
    packet[7] = HOP_LIMIT;
    packet[8..24].copy_from_slice(&from);
    packet[24..40].copy_from_slice(&to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn segment()(
            seq: u32, ack: u32, window: u16, syn: bool,
            mss in proptest::option::of(any::<u16>()), sack_permitted: bool,
            timestamps in proptest::option::of(any::<(u32, u32)>()),
            payload in proptest::collection::vec(any::<u8>(), 0..2000),
        ) -> Segment {
            let flags = if syn { Flags::SYN } else { Flags::ACK.with(Flags::PSH) };
            let options = if syn {
                SynOptions { mss, window_scale: Some(7), sack_permitted }
            } else {
                SynOptions::default()
            };
            let timestamps = timestamps.map(|(value, echo)| Timestamps { value, echo });
            Segment { seq: Seq(seq), ack: Seq(ack), flags, window, options, timestamps, payload }
        }
    }

    proptest! {
        #[test]
        fn what_is_built_is_read(segment in segment(), a: u32, b: u32, p: u16, q: u16) {
            let (from, to) = (SocketAddrV4::new(a.into(), p), SocketAddrV4::new(b.into(), q));
            let packet = build_v4(from, to, &segment);
            let read = read_v4(&packet, packet.len()).unwrap();
            prop_assert_eq!(&read.segment, &segment);
            prop_assert_eq!((read.source, read.destination), (from, to));

            let wide = |a: u32, p| SocketAddrV6::new(Ipv6Addr::from(u128::from(a) << 40), p, 0, 0);
            let packet = build_v6(wide(a, p), wide(b, q), &segment);
            let read = read_v6(&packet, packet.len()).unwrap();
            prop_assert_eq!(&read.segment, &segment);
            prop_assert_eq!((read.source, read.destination), (wide(a, p), wide(b, q)));
        }

        #[test]
        fn damage_is_noticed(segment in segment(), at in 20usize..40, bit in 0u8..8) {
            let from = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
            let mut packet = build_v4(from, from, &segment);
            packet[at] ^= 1 << bit;
            // By chance, once in 2^16, this is what a checksum looks like that is yet to be filled in.
            let pseudo = pseudo_v4([127, 0, 0, 1], [127, 0, 0, 1], TCP, (packet.len() - IPV4_LEN) as u16);
            prop_assume!(u16::from_ne_bytes([packet[36], packet[37]]) != pseudo.fold());
            // The port, sequence and window fields are covered; the data offset may fail first.
            prop_assert!(read_v4(&packet, packet.len()).is_none());
        }

        #[test]
        fn garbage_is_no_packet(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_v4(&packet, packet.len());
            let _ = read_v6(&packet, packet.len());
        }
    }
}
