//! TCP segments over IPv4 and IPv6: built byte by byte, and read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// TCP's flags, where they stand in the header.
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Begin.
    pub const SYN: u8 = 2;
    /// Forget it.
    pub const RST: u8 = 4;
    /// Hand on at once.
    pub const PSH: u8 = 8;
    /// The acknowledgment counts.
    pub const ACK: u8 = 16;
}

/// A TCP segment with its addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// From.
    pub source: SocketAddr,
    /// To.
    pub destination: SocketAddr,
    /// Time to live, or hop limit.
    pub hops: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// See [`flag`].
    pub flags: u8,
    /// As in the header, not scaled.
    pub window: u16,
    /// Padded to four bytes.
    pub options: Vec<u8>,
    /// Data, perhaps cut by the capture.
    pub payload: Vec<u8>,
}

impl Segment {
    /// Reads a packet from its IP header on; `None` if it is no TCP.
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        let (source, destination, hops, tcp): (IpAddr, IpAddr, u8, &[u8]) =
            match packet.first()? >> 4 {
                4 if *packet.get(9)? == 6 => {
                    let header = usize::from(packet[0] & 15) * 4;
                    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
                    // TSO leaves a length of zero in captures.
                    let end = if total == 0 { packet.len() } else { total.min(packet.len()) };
                    let address = |at: usize| -> Option<IpAddr> {
                        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                        Some(Ipv4Addr::from(bytes).into())
                    };
                    (address(12)?, address(16)?, packet[8], packet.get(header..end)?)
                }
                6 if *packet.get(6)? == 6 => {
                    let total = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
                    let address = |at: usize| -> Option<IpAddr> {
                        let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                        Some(bytes.into())
                    };
                    (address(8)?, address(24)?, packet[7], packet.get(40..total.min(packet.len()))?)
                }
                _ => return None,
            };
        let port = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
        let word = |at: usize| Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?));
        let header = usize::from(*tcp.get(12)? >> 4) * 4;
        Some(Self {
            source: SocketAddr::new(source, port(0)?),
            destination: SocketAddr::new(destination, port(2)?),
            hops,
            seq: word(4)?,
            ack: word(8)?,
            flags: *tcp.get(13)?,
            window: port(14)?,
            options: tcp.get(20..header)?.to_vec(),
            payload: tcp.get(header..)?.to_vec(),
        })
    }

    /// Whether these flags are set and no others but PSH.
    #[must_use]
    pub fn is(&self, flags: u8) -> bool {
        self.flags & !flag::PSH == flags
    }

    /// The value of the option of that kind.
    #[must_use]
    pub fn option(&self, kind: u8) -> Option<&[u8]> {
        let mut rest = self.options.as_slice();
        loop {
            match *rest {
                [1, ref next @ ..] => rest = next,
                [found, len, ..] if len >= 2 => {
                    let value = rest.get(2..usize::from(len))?;
                    if found == kind {
                        return Some(value);
                    }
                    rest = &rest[usize::from(len)..];
                }
                _ => return None,
            }
        }
    }

    /// The maximum segment size that a SYN announces.
    #[must_use]
    pub fn mss(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.option(2)?.try_into().ok()?))
    }
}

/// An IPv4 packet with right checksums.
#[must_use]
pub fn packet4(source: SocketAddrV4, destination: SocketAddrV4, segment: &Segment) -> Vec<u8> {
    let addresses = [source.ip().octets(), destination.ip().octets()].concat();
    let tcp = tcp(source.port(), destination.port(), &addresses, segment);
    let tcp_len = u16::try_from(tcp.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0];
    packet.extend((tcp_len + 20).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, segment.hops, 6, 0, 0]);
    packet.extend(source.ip().octets());
    packet.extend(destination.ip().octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(tcp);
    packet
}

/// An IPv6 packet with a right checksum.
#[must_use]
pub fn packet6(source: SocketAddrV6, destination: SocketAddrV6, segment: &Segment) -> Vec<u8> {
    let addresses = [source.ip().octets(), destination.ip().octets()].concat();
    let tcp = tcp(source.port(), destination.port(), &addresses, segment);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(tcp.len()).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend([6, segment.hops]);
    packet.extend(addresses);
    packet.extend(tcp);
    packet
}

/// Header and data, the checksum over these addresses.
fn tcp(source: u16, destination: u16, addresses: &[u8], segment: &Segment) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(source.to_be_bytes());
    tcp.extend(destination.to_be_bytes());
    tcp.extend(segment.seq.to_be_bytes());
    tcp.extend(segment.ack.to_be_bytes());
    let mut options = segment.options.clone();
    options.resize(options.len().next_multiple_of(4), 0);
    tcp.push(u8::try_from((20 + options.len()) / 4).unwrap_or(15) << 4);
    tcp.push(segment.flags);
    tcp.extend(segment.window.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(&options);
    tcp.extend(&segment.payload);
    let len = u16::try_from(tcp.len()).unwrap_or(u16::MAX);
    // The pseudo-headers of both protocols sum up alike.
    let pseudo = [addresses, &[0, 6], &len.to_be_bytes(), &tcp].concat();
    tcp[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    tcp
}

/// The internet checksum (RFC 1071).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded + (folded >> 16)) as u16)
}
