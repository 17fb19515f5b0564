//! What an IPv6 address is: a site's, behind the NAT46 prefix, the world's, or the kernel's business.

use aya_ebpf::{
    macros::map,
    maps::{LpmTrie, lpm_trie::Key},
};
use ingress_common::maps::{Destination, Route};

#[map]
static ROUTES: LpmTrie<[u64; 2], Route> = LpmTrie::pinned(4096, 0);

/// The longest match for `address`; without one, the kernel decides.
#[inline(always)]
pub fn lookup(address: &[u8; 16]) -> Route {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *address;
    find(u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes(rest))
}

/// Takes both halves in registers. Not inlined: the key needs stack.
#[inline(never)]
fn find(first: u64, second: u64) -> Route {
    match ROUTES.get(Key::new(128, [first, second])) {
        Some(route) => *route,
        None => Route::to(Destination::Kernel),
    }
}
