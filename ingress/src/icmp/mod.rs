//! ICMP errors about spliced flows: translated both ways (RFC 7915 §4.2, 5.2), or made here.
//!
//! The quoted packet goes back into the form in which its sender sent it, sequence numbers included: a TCP
//! that does not find its own numbers in an error ignores it (RFC 5927), and path MTU discovery dies
//! silently. Errors are rare, so all this happens in the daemon; the programs hand them up at a limited rate.

mod made;
mod quote;
#[cfg(test)]
mod tests;
mod to_v4;
mod to_v6;

pub use made::{
    hop_limit_for_backend, hop_limit_for_client, too_big_for_backend, too_big_for_client,
};
pub use quote::{QuotedV4, QuotedV6};
pub use to_v4::to_v4;
pub use to_v6::to_v6;

use ingress_common::{
    checksum::{Sum, pseudo_v6},
    icmp::v6,
    ip::{ICMP, ICMPV6, IPV4_LEN, IPV6_LEAST_MTU, IPV6_LEN},
};

use crate::wire::{write_v4, write_v6};

/// Header of an ICMP or ICMPv6 error.
const ICMP_LEN: usize = 8;
/// An ICMP error is no longer than this (RFC 1812 §4.3.2.3), an ICMPv6 one no longer than IPv6's least MTU.
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = IPV6_LEAST_MTU as usize;

/// Whether an ICMP message over IPv4 came as it was sent: under its new checksum damage would be hidden.
#[must_use]
pub fn is_intact_v4(packet: &[u8]) -> bool {
    let Some(header) = packet.first_chunk::<IPV4_LEN>() else { return false };
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    packet.get(IPV4_LEN..total).is_some_and(|icmp| Sum::default().run(icmp).fold() == 0xffff)
}

/// The same of an ICMPv6 message.
#[must_use]
pub fn is_intact_v6(packet: &[u8]) -> bool {
    let Some(header) = packet.first_chunk::<IPV6_LEN>() else { return false };
    let len = u16::from_be_bytes([header[4], header[5]]);
    let Some(icmp) = packet.get(IPV6_LEN..IPV6_LEN + usize::from(len)) else { return false };
    let (mut from, mut to) = ([0; 16], [0; 16]);
    from.copy_from_slice(&header[8..24]);
    to.copy_from_slice(&header[24..40]);
    pseudo_v6(&from, &to, ICMPV6, len).plus(Sum::default().run(icmp)).fold() == 0xffff
}

/// The MTU in a Packet Too Big (RFC 4443 §3.2).
#[must_use]
pub fn packet_too_big(packet: &[u8]) -> Option<u32> {
    let header = packet.get(IPV6_LEN..)?.first_chunk::<ICMP_LEN>()?;
    let [v6::PACKET_TOO_BIG, _, _, _, a, b, c, d] = *header else { return None };
    Some(u32::from_be_bytes([a, b, c, d]))
}

/// The devices that a flow passes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtus {
    /// Towards the clients.
    pub uplink: u32,
    /// Towards the site.
    pub tunnel: u32,
}

/// A flow as an error needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spliced {
    /// The client's address.
    pub client: [u8; 4],
    /// The address of ours that it connected to.
    pub listen: [u8; 4],
    /// The backend's address.
    pub backend: [u8; 16],
    /// The client as the backend knows it.
    pub source: [u8; 16],
    /// What the backend's sequence numbers are raised by.
    pub delta: u32,
    /// What its timestamps are raised by, where both ends have them.
    pub ts_delta: Option<u32>,
    /// The MSS that the backend announced, where that is small.
    pub mss: Option<u16>,
}

impl Spliced {
    /// Both deltas as they undo themselves.
    fn deltas_back(&self) -> [[u8; 4]; 2] {
        [self.delta, self.ts_delta.unwrap_or(0)].map(|delta| delta.wrapping_neg().to_be_bytes())
    }

    fn address_change_to_v4(&self) -> Sum {
        self.v4().plus(Sum(u32::from(!self.v6().fold())))
    }

    fn address_change_to_v6(&self) -> Sum {
        self.v6().plus(Sum(u32::from(!self.v4().fold())))
    }

    fn v4(&self) -> Sum {
        Sum::default().add4(self.client).add4(self.listen)
    }

    fn v6(&self) -> Sum {
        Sum::default().add16(&self.backend).add16(&self.source)
    }
}

/// An ICMP error without its addresses.
struct Error {
    kind: u8,
    code: u8,
    /// The second word of the header: MTU, pointer, or nothing.
    detail: [u8; 4],
}

impl Error {
    fn over_v4(&self, from: [u8; 4], to: [u8; 4], quoted: &[u8]) -> Vec<u8> {
        let quoted = &quoted[..quoted.len().min(LONGEST_V4 - IPV4_LEN - ICMP_LEN)];
        let mut packet = vec![0; IPV4_LEN];
        packet.extend([self.kind, self.code, 0, 0]);
        packet.extend(self.detail);
        packet.extend(quoted);
        let checksum = Sum::default().run(&packet[IPV4_LEN..]).checksum();
        packet[IPV4_LEN + 2..IPV4_LEN + 4].copy_from_slice(&checksum);
        let len = packet.len();
        write_v4(&mut packet, from, to, ICMP, len);
        packet
    }

    fn over_v6(&self, from: [u8; 16], to: [u8; 16], quoted: &[u8]) -> Vec<u8> {
        let quoted = &quoted[..quoted.len().min(LONGEST_V6 - IPV6_LEN - ICMP_LEN)];
        let mut packet = vec![0; IPV6_LEN];
        packet.extend([self.kind, self.code, 0, 0]);
        packet.extend(self.detail);
        packet.extend(quoted);
        let len = (packet.len() - IPV6_LEN) as u16;
        let pseudo = pseudo_v6(&from, &to, ICMPV6, len);
        let checksum = pseudo.plus(Sum::default().run(&packet[IPV6_LEN..])).checksum();
        packet[IPV6_LEN + 2..IPV6_LEN + 4].copy_from_slice(&checksum);
        write_v6(&mut packet, from, to, ICMPV6, len);
        packet
    }
}
