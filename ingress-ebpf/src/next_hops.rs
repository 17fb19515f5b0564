//! The router or host that a packet is handed to on a device with Ethernet headers, where the daemon knows it.

use aya_ebpf::{
    bindings::bpf_redir_neigh,
    macros::map,
    maps::{Array, LpmTrie, lpm_trie::Key},
};
use ingress_common::maps::{self, ASK_KERNEL, Device, NextHop};

use crate::{heartbeat, routes};

/// Next hops by their numbers, which routes name.
#[map]
static NEXT_HOPS: Array<NextHop> = Array::pinned(maps::NEXT_HOPS, 0);
/// Numbers of next hops by the client's address.
#[map]
static ROUTES4: LpmTrie<[u8; 4], u32> = LpmTrie::pinned(maps::MAX_ROUTES4, 0);

/// The next hop with this number, for `bpf_redirect_neigh`. `None` has the kernel look it up: the kernel follows every
/// change of routes, a next hop in a map only while there is a daemon.
#[inline(always)]
pub fn get(number: u8) -> Option<*const bpf_redir_neigh> {
    if number == ASK_KERNEL || !heartbeat::was_fresh() {
        return None;
    }
    let next_hop = NEXT_HOPS.get_ptr(number as u32)?;
    // SAFETY: a live map value. The daemon writes a number's next hop while no route has that number.
    if unsafe { (*next_hop).family } == 0 { None } else { Some(next_hop.cast()) }
}

/// The number of the next hop to a backend behind a tunnel.
#[inline(always)]
pub fn to_backend(tunnel: &Device, backend: &[u8; 16]) -> u8 {
    if tunnel.ethernet == 0 { ASK_KERNEL } else { routes::lookup(backend).next_hop }
}

/// The number of the next hop to a client behind the uplink.
#[inline(always)]
pub fn to_client(uplink: &Device, client: &[u8; 4]) -> u8 {
    if uplink.ethernet == 0 {
        return ASK_KERNEL;
    }
    match ROUTES4.get(Key::new(32, *client)) {
        Some(number) => *number as u8,
        None => ASK_KERNEL,
    }
}

const _: () = assert!(size_of::<NextHop>() == size_of::<bpf_redir_neigh>());
