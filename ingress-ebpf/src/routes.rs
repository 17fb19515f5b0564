//! What an IPv6 address is: a site's, behind the NAT46 prefix, the world's, or the kernel's business.

use aya_ebpf::{
    macros::map,
    maps::{LpmTrie, lpm_trie::Key},
};
use ingress_common::maps::{Destination, Route};

#[map]
static ROUTES: LpmTrie<[u8; 16], Route> = LpmTrie::pinned(4096, 0);

/// The longest match for `address`; without one, the kernel decides. Not inlined: the key needs stack.
#[inline(never)]
pub fn lookup(address: &[u8; 16]) -> Route {
    match ROUTES.get(Key::new(128, *address)) {
        Some(route) => *route,
        None => Route::to(Destination::Kernel),
    }
}
