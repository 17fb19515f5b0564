//! What an IPv6 packet carries, read from the kernel's buffer.

use aya_ebpf::bindings::__sk_buff;
use ingress_common::{
    ip::IPV6_LEN,
    policy::{Octets, UpperLayer},
};
use network_types::ip::Ipv6Hdr;

use crate::packet::{load, now};

/// The packet behind the link's header.
struct Skb {
    skb: *mut __sk_buff,
    l2: u32,
}

/// Reads the headers into `into`. `false` where they do not all lie within the length that the packet claims.
///
/// Not inlined: it is verified apart from what comes before.
#[inline(never)]
pub fn read(skb: *mut __sk_buff, l2: u32, ip: &Ipv6Hdr, into: &mut UpperLayer) -> bool {
    let end = match u16::from_be_bytes(ip.payload_len) {
        // A batch of more than 64 KiB, which GRO makes of a jumbogram.
        // SAFETY: a program's context is valid as long as it runs.
        0 => unsafe { (*skb).len }.wrapping_sub(l2),
        len => IPV6_LEN as u32 + len as u32,
    };
    into.read(&Skb { skb, l2 }, ip.next_hdr, end, now())
}

impl Octets for Skb {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32, into: &mut [u8; N]) -> bool {
        load(self.skb, self.l2 + offset, into)
    }
}
