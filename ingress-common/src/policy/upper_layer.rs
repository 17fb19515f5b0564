//! What an IPv6 packet carries, behind its extension headers, as far as the policy asks.

use super::{
    Fragment, MAX_EXTENSION_HEADERS, has_ports, is_extension_header, parse_extension_header,
};
use crate::{
    ip::{ICMPV6, IPV6_LEN, TCP},
    tcp::{FLAGS_OFFSET, Flags},
    verifier::{forget, opaque},
};

/// Offset of the flags in a TCP header, in octets.
const FLAGS: u32 = FLAGS_OFFSET as u32;
/// Covers every offset that a walk over [`MAX_EXTENSION_HEADERS`] can reach; shows the verifier a bound.
const OFFSET_MASK: u64 = 0x7fff;

/// The protocol that a packet carries, and what of its header the policy asks for: zeros until [`UpperLayer::read`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpperLayer {
    /// The kind of the last header.
    pub protocol: u8,
    /// The flags of TCP.
    pub flags: Flags,
    /// The type of an ICMPv6 message.
    pub kind: u8,
    /// Which fragment of its packet this is.
    pub piece: Piece,
    /// The sender's and the receiver's; zeros where the protocol has none.
    pub ports: [[u8; 2]; 2],
    /// What tells a packet's fragments from others'.
    pub id: [u8; 4],
}

/// Which fragment of its packet something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Piece {
    /// All of the packet.
    #[default]
    Whole,
    /// The first fragment, with the ports.
    First,
    /// A later fragment, which tells nothing.
    Later,
}

/// A packet from its IPv6 header on.
pub trait Octets {
    /// Copies `N` octets from `offset` on; `false` where the packet has not so many.
    fn load<const N: usize>(&self, offset: u32, into: &mut [u8; N]) -> bool;
}

impl UpperLayer {
    /// Reads the headers. `false` where they do not all end before `end`, the length that the packet claims. `first` is
    /// the kind of the first one, `salt` a number that the verifier does not know.
    #[inline(always)]
    pub fn read<P: Octets>(&mut self, packet: &P, first: u8, end: u32, salt: u64) -> bool {
        let mut kind = first;
        let mut offset = IPV6_LEN as u32;
        let mut nth = 0;
        while nth < MAX_EXTENSION_HEADERS {
            if !is_extension_header(kind) {
                break;
            }
            let mut head = [0u8; 8];
            if offset + 8 > end || !packet.load(offset, &mut head) {
                return false;
            }
            let header = parse_extension_header(kind, head);
            kind = forget(header.next as u64, salt) as u8;
            offset = opaque(forget((offset + header.len as u32) as u64, salt) & OFFSET_MASK) as u32;
            if let Some(Fragment { id, first, whole }) = header.fragment {
                self.id = id;
                if !first {
                    self.piece = Piece::Later;
                    return true;
                }
                if !whole {
                    self.piece = Piece::First;
                }
            }
            nth += 1;
        }
        self.protocol = kind;
        if is_extension_header(kind) {
            return false;
        }
        if has_ports(kind) {
            if offset + 4 > end || !self.load_ports(packet, offset) {
                return false;
            }
            if kind == TCP {
                let mut flags = [0];
                if offset + FLAGS >= end || !packet.load(offset + FLAGS, &mut flags) {
                    return false;
                }
                self.flags = Flags(flags[0]);
            }
        } else if kind == ICMPV6 {
            let mut message = [0];
            if offset >= end || !packet.load(offset, &mut message) {
                return false;
            }
            self.kind = message[0];
        }
        true
    }

    #[inline(always)]
    fn load_ports<P: Octets>(&mut self, packet: &P, offset: u32) -> bool {
        let mut ports = [0; 4];
        if !packet.load(offset, &mut ports) {
            return false;
        }
        let [a, b, c, d] = ports;
        self.ports = [[a, b], [c, d]];
        true
    }
}
