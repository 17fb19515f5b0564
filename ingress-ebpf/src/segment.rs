//! What comes by the uplink over IPv4, read as a segment to a listed port.

use ingress_common::{
    ip::{ICMP, IPV4_LEN, TCP},
    maps::ClientKey,
    tcp::{Flags, HEADER_LEN},
    verdict::{DropReason, Verdict},
};
use network_types::{ip::Ipv4Hdr, tcp::TcpHdr};

use crate::{
    admit,
    header_copy::HeaderCopy,
    icmp,
    packet::{Packet, Step},
    tcp_header::TcpHeader,
};

/// A TCP segment over IPv4 whose headers have been read and found whole.
pub struct Segment {
    pub ip: HeaderCopy<Ipv4Hdr>,
    pub tcp: HeaderCopy<TcpHdr>,
    pub key: ClientKey,
    pub flags: Flags,
    /// Length of the packet by its own header.
    pub len: u32,
    /// Octets of TCP options.
    pub options: usize,
    /// Octets of payload.
    pub payload: u32,
}

impl Segment {
    /// Reads the headers. What is not TCP, or a later fragment, is the kernel's; nothing of it reaches a
    /// listening port, since the first fragment never gets there.
    #[inline(always)]
    pub fn parse<const L2: usize>(packet: &Packet<L2>) -> Step<Self> {
        let ip = packet.read::<Ipv4Hdr>(0).ok_or(Verdict::Kernel)?;
        let [fragment, rest] = ip.frags;
        if ip.vihl >> 4 != 4 || fragment & 0x1f != 0 || rest != 0 {
            return Err(Verdict::Kernel);
        }
        if ip.proto == ICMP {
            return Err(icmp::from_world(packet, &ip));
        }
        if ip.proto != TCP {
            return Err(Verdict::Kernel);
        }
        // The smallest first fragment holds less than a TCP header, but the ports.
        let flaw = if ip.vihl != 0x45 {
            DropReason::Ipv4Options
        } else if fragment & 0x20 != 0 {
            DropReason::Ipv4Fragment
        } else {
            DropReason::Malformed
        };
        let tcp = match packet.read::<TcpHdr>(IPV4_LEN) {
            Some(tcp) if ip.vihl == 0x45 && fragment & 0x20 == 0 => tcp,
            Some(_) | None => return Err(admit::refuse_by_ports(packet, &ip, flaw)),
        };
        let key = ClientKey::new(ip.src_addr, tcp.source, ip.dst_addr, tcp.dest);
        let len = u16::from_be_bytes(ip.tot_len) as u32;
        let options = tcp.options_len();
        let headers = (IPV4_LEN + HEADER_LEN + options) as u32;
        if tcp.is_short() || len < headers || len > packet.len() {
            return Err(admit::refuse_listed(&key, DropReason::Malformed));
        }
        let flags = tcp.flags();
        Ok(Self { ip, tcp, key, flags, len, options, payload: len - headers })
    }

    /// Cuts off what the link layer appended, once it is certain that the packet is ours.
    #[inline(always)]
    pub fn trim<const L2: usize>(&self, packet: &Packet<L2>) -> Step<()> {
        if self.len < packet.len() { packet.resize(self.len) } else { Ok(()) }
    }
}
