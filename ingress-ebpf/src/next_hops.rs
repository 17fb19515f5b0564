//! Whom a packet is handed to on a device with Ethernet headers, where the daemon knows that.

use aya_ebpf::{
    bindings::bpf_redir_neigh,
    macros::map,
    maps::{Array, LpmTrie, lpm_trie::Key},
};
use ingress_common::maps::{self, ASK_KERNEL, Device, NextHop};

use crate::{heartbeat, routes};

/// By the number that routes have.
#[map]
static NEXT_HOPS: Array<NextHop> = Array::pinned(maps::NEXT_HOPS, 0);
/// Numbers by the client's address.
#[map]
static ROUTES4: LpmTrie<[u8; 4], u32> = LpmTrie::pinned(maps::MAX_ROUTES4, 0);

/// The next hop of that number, for `bpf_redirect_neigh`. None means that the kernel shall look it up: it follows
/// every change, which a next hop in a map does only while there is a daemon.
#[inline(always)]
pub fn get(number: u8) -> Option<*const bpf_redir_neigh> {
    if number == ASK_KERNEL || !heartbeat::was_fresh() {
        return None;
    }
    let next_hop = NEXT_HOPS.get_ptr(number as u32)?;
    // SAFETY: a live map value. The daemon writes a number's next hop while no route has that number.
    if unsafe { (*next_hop).family } == 0 { None } else { Some(next_hop.cast()) }
}

/// The number for a backend behind a tunnel.
#[inline(always)]
pub fn to_backend(tunnel: &Device, backend: &[u8; 16]) -> u8 {
    if tunnel.ethernet == 0 { ASK_KERNEL } else { routes::lookup(backend).next_hop }
}

/// The number for a client behind the uplink.
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
