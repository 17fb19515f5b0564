//! The last step: a packet leaves.

use aya_ebpf::{
    bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, bpf_redir_neigh},
    helpers::{bpf_redirect, bpf_redirect_neigh, bpf_skb_change_head},
};
use ingress_common::verdict::{DropReason, Egress};

use crate::{
    count, next_hops,
    packet::{ETHERNET, NONE, Packet, Step, helper_result},
};

/// Sends the packet out through a device.
///
/// A device without link layer takes the packet as it is: the redirect strips an Ethernet header by itself.
/// One with Ethernet needs room for a header before the kernel resolves the neighbour and fills it in.
#[inline(always)]
pub fn leave<const L2: usize>(packet: &Packet<L2>, egress: Egress) -> i32 {
    let action = if egress.ethernet {
        if L2 == NONE && add_ethernet(packet).is_err() {
            count::drop(DropReason::KernelRefused);
            return TC_ACT_SHOT;
        }
        match next_hops::get(egress.next_hop) {
            // SAFETY: a live map value, of the size that is said; the helper wants a mutable pointer but only reads.
            Some(next_hop) => unsafe {
                let size = size_of::<bpf_redir_neigh>() as i32;
                bpf_redirect_neigh(egress.ifindex, next_hop.cast_mut(), size, 0)
            },
            // SAFETY: null parameters ask the kernel to look up the next hop itself.
            None => unsafe { bpf_redirect_neigh(egress.ifindex, core::ptr::null_mut(), 0, 0) },
        }
    } else {
        // SAFETY: takes numbers only.
        unsafe { bpf_redirect(egress.ifindex, 0) }
    };
    if action as i32 != TC_ACT_REDIRECT {
        count::drop(DropReason::KernelRefused);
    }
    action as i32
}

/// Sends the packet back out of the interface it came in by.
#[inline(always)]
pub fn turn_back<const L2: usize>(packet: &Packet<L2>) -> i32 {
    // SAFETY: takes numbers only.
    unsafe { bpf_redirect(packet.ifindex(), 0) as i32 }
}

#[inline(always)]
fn add_ethernet<const L2: usize>(packet: &Packet<L2>) -> Step<()> {
    let ether_type =
        if packet.is_ipv6() { crate::packet::ETH_P_IPV6 } else { crate::packet::ETH_P_IP };
    // SAFETY: the helper refuses what it cannot do.
    helper_result(unsafe { bpf_skb_change_head(packet.skb(), ETHERNET as u32, 0) })?;
    // The packet now starts with fourteen octets of header; `L2` is zero, so offsets count from there.
    packet.write(12, &ether_type.to_be_bytes())
}
