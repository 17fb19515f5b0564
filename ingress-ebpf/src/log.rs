//! A line for each packet, in builds that are for finding faults.

use aya_ebpf::programs::TcContext;
use aya_log_ebpf::info;
use ingress_common::verdict::Verdict;

use crate::packet::Packet;

/// Tells what becomes of a packet. Reasons are numbers here: their names would be pointers into the object, which
/// the loader does not resolve.
#[inline(always)]
pub fn verdict<const L2: usize>(packet: &Packet<L2>, verdict: Verdict) {
    let ctx = TcContext::new(packet.skb());
    let (ifindex, len) = (packet.ifindex(), packet.skb_len());
    let family = if packet.is_ipv6() { 6u8 } else { 4 };
    match verdict {
        Verdict::Kernel => info!(ctx, "if {} IPv{} {} octets: the kernel's", ifindex, family, len),
        Verdict::Forward(egress) => {
            info!(
                ctx,
                "if {} IPv{} {} octets: leaves by if {}", ifindex, family, len, egress.ifindex
            )
        }
        Verdict::Reflect => info!(ctx, "if {} IPv{} {} octets: answered", ifindex, family, len),
        Verdict::Upcall => info!(ctx, "if {} IPv{} {} octets: handed up", ifindex, family, len),
        Verdict::Absorb => info!(ctx, "if {} IPv{} {} octets: absorbed", ifindex, family, len),
        Verdict::Drop(reason) => {
            info!(
                ctx,
                "if {} IPv{} {} octets: dropped, reason {}", ifindex, family, len, reason as u32
            )
        }
    }
}
