//! What an IPv6 packet carries, behind its extension headers, as far as the policy asks.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};
use ingress_common::{
    maps::TCP,
    policy::{Fragment, ICMPV6, MOST_HEADERS, has_ports, is_header, step},
    tcp::Flags,
    verifier::{forget, opaque},
};
use network_types::ip::Ipv6Hdr;

use crate::packet::now;

const IPV6: u32 = 40;
/// Offset of the flags in a TCP header.
const FLAGS: u32 = 13;
/// The highest that a walk over [`MOST_HEADERS`] can get, rounded up.
const FARTHEST: u64 = 0x7fff;

/// Read by [`read`]; until then zeros.
#[derive(Clone, Copy, Default)]
pub struct Upper {
    pub protocol: u8,
    /// Of TCP.
    pub flags: Flags,
    /// The type, of ICMPv6.
    pub kind: u8,
    pub piece: Piece,
    /// The sender's and the receiver's; zeros where the protocol has none.
    pub ports: [[u8; 2]; 2],
    /// What tells a packet's pieces from others'.
    pub id: [u8; 4],
}

/// Which piece of its packet.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    #[default]
    Whole,
    /// The one with the ports.
    First,
    /// Another: it tells nothing.
    Later,
}

/// Whether the headers could be read, all within the length that the packet claims.
///
/// Not inlined: it is verified apart from what comes before.
#[inline(never)]
pub fn read(skb: *mut __sk_buff, l2: u32, ip: &Ipv6Hdr, upper: &mut Upper) -> bool {
    let mut kind = ip.next_hdr;
    let end = match u16::from_be_bytes(ip.payload_len) {
        // A batch of more than 64 KiB, which GRO makes of a jumbogram.
        // SAFETY: a program's context is valid as long as it runs.
        0 => unsafe { (*skb).len }.wrapping_sub(l2),
        len => IPV6 + len as u32,
    };
    let salt = now();
    let mut offset = IPV6;
    let mut nth = 0;
    while nth < MOST_HEADERS {
        if !is_header(kind) {
            break;
        }
        let mut head = [0u8; 8];
        if offset + 8 > end || !load(skb, l2 + offset, &mut head) {
            return false;
        }
        let step = step(kind, head);
        kind = forget(step.next as u64, salt) as u8;
        offset = (opaque(forget((offset + step.len as u32) as u64, salt) & FARTHEST)) as u32;
        if let Some(Fragment { id, first, whole }) = step.fragment {
            upper.id = id;
            if !first {
                upper.piece = Piece::Later;
                return true;
            }
            if !whole {
                upper.piece = Piece::First;
            }
        }
        nth += 1;
    }
    upper.protocol = kind;
    if is_header(kind) {
        return false;
    }
    if has_ports(kind) {
        if offset + 4 > end || !load(skb, l2 + offset, &mut upper.ports) {
            return false;
        }
        if kind == TCP {
            let mut flags = 0u8;
            if offset + FLAGS >= end || !load(skb, l2 + offset + FLAGS, &mut flags) {
                return false;
            }
            upper.flags = Flags(flags);
        }
    } else if kind == ICMPV6 && (offset >= end || !load(skb, l2 + offset, &mut upper.kind)) {
        return false;
    }
    true
}

/// Reads a `T`, made of octets.
#[inline(always)]
fn load<T>(skb: *mut __sk_buff, offset: u32, into: &mut T) -> bool {
    // SAFETY: as many octets are read as a `T` has, and any pattern of them is one.
    let failed = unsafe {
        bpf_skb_load_bytes(
            skb.cast(),
            offset,
            core::ptr::from_mut(into).cast(),
            size_of::<T>() as u32,
        )
    };
    failed == 0
}
