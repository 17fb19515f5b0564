//! The programs at tc, and the one at XDP. A packet's way reads top to bottom: parse, look up, decide, emit.
//!
//! Each program at tc exists twice, for devices with an Ethernet header and for those without; a const generic
//! `L2` carries the header's length through everything below. They are inlined into the entry points that the attribute
//! macros generate, which saves a call per packet.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod admit;
mod clamp;
mod count;
mod devices;
mod emit;
mod extension_headers;
mod flows;
mod forward;
mod gate;
mod header_copy;
mod heartbeat;
mod icmp;
mod ipv4;
#[cfg(feature = "log-packets")]
mod log;
mod next_hops;
mod option_buffer;
mod options;
mod packet;
mod policy;
mod routes;
mod segment;
mod shield;
mod storm;
mod synack;
mod tcp_header;
mod to_backend;
mod to_client;
mod upcall;
mod upper_layer;

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    },
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use ingress_common::verdict::Verdict;

use crate::packet::{ETHERNET, NONE, Packet, Step};

/// Ingress of an uplink with Ethernet headers.
#[classifier]
#[inline(always)]
pub fn uplink_eth(ctx: TcContext) -> i32 {
    uplink(&Packet::<ETHERNET>::new(ctx))
}

/// Ingress of an uplink without (PPP, a tunnelled VPS).
#[classifier]
#[inline(always)]
pub fn uplink_l3(ctx: TcContext) -> i32 {
    uplink(&Packet::<NONE>::new(ctx))
}

/// Ingress of a tunnel with Ethernet headers (VXLAN, veth, VLAN, ZeroTier).
#[classifier]
#[inline(always)]
pub fn tunnel_eth(ctx: TcContext) -> i32 {
    tunnel(&Packet::<ETHERNET>::new(ctx))
}

/// Ingress of a tunnel without (WireGuard).
#[classifier]
#[inline(always)]
pub fn tunnel_l3(ctx: TcContext) -> i32 {
    tunnel(&Packet::<NONE>::new(ctx))
}

/// XDP on the uplink, in front of `uplink_eth`, while there is a flood or the operator wants it.
#[xdp]
#[inline(always)]
pub fn shield(ctx: XdpContext) -> u32 {
    match verdict_of(shield::from_world(&ctx)) {
        Verdict::Reflect => XDP_TX,
        Verdict::Drop(reason) => {
            count::drop(reason);
            XDP_DROP
        }
        Verdict::Kernel | Verdict::Forward(_) | Verdict::Upcall | Verdict::Absorb => XDP_PASS,
    }
}

/// From the world: IPv6 to a site, or IPv4 to a listed port.
#[inline(always)]
fn uplink<const L2: usize>(packet: &Packet<L2>) -> i32 {
    let decided = if !packet.is_for_us() {
        Verdict::Kernel
    } else if packet.is_ipv6() {
        verdict_of(forward::from_world(packet))
    } else if packet.is_ipv4() {
        verdict_of(to_backend::from_client(packet))
    } else {
        Verdict::Kernel
    };
    conclude(packet, decided)
}

/// From a site: IPv6 to the world, or to a client behind the NAT46 prefix.
#[inline(always)]
fn tunnel<const L2: usize>(packet: &Packet<L2>) -> i32 {
    let decided = if packet.is_for_us() && packet.is_ipv6() {
        verdict_of(forward::from_site(packet))
    } else {
        Verdict::Kernel
    };
    conclude(packet, decided)
}

/// The verdict of a way that has ended, early or late.
#[inline(always)]
fn verdict_of(result: Step<Verdict>) -> Verdict {
    match result {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

/// The one place where a verdict becomes an action at tc; [`shield`] has the one at XDP. `TC_ACT_UNSPEC` rather than
/// `TC_ACT_OK` lets other programs on the same hook see what is not ours.
#[inline(always)]
fn conclude<const L2: usize>(packet: &Packet<L2>, verdict: Verdict) -> i32 {
    #[cfg(feature = "log-packets")]
    log::verdict(packet, verdict);
    match verdict {
        Verdict::Kernel => TC_ACT_UNSPEC,
        Verdict::Forward(egress) => emit::leave(packet, egress),
        Verdict::Reflect => emit::turn_back(packet),
        Verdict::Upcall | Verdict::Absorb => TC_ACT_SHOT,
        Verdict::Drop(reason) => {
            count::drop(reason);
            TC_ACT_SHOT
        }
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
