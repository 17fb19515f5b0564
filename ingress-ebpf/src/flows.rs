//! The flow table: two plain hash maps, one for each direction, written by the daemon.

use core::arch::asm;

use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, macros::map, maps::HashMap};
use ingress_common::maps::{BackendKey, ClientKey, Host, ToBackend, ToClient};

#[map]
static FLOWS: HashMap<ClientKey, ToBackend> = HashMap::pinned(1 << 20, BPF_F_NO_PREALLOC);
#[map]
static RETURNS: HashMap<BackendKey, ToClient> = HashMap::pinned(1 << 20, BPF_F_NO_PREALLOC);
/// Names of the flows; no program reads them, a restarted daemon does.
#[map]
static HOSTS: HashMap<u32, Host> = HashMap::pinned(1 << 16, BPF_F_NO_PREALLOC);

/// The flow of a client's packet.
#[inline(always)]
pub fn from_client(key: &ClientKey) -> Option<&'static mut ToBackend> {
    // SAFETY: entries of a map without preallocation are freed after a grace period, so the pointer holds
    // while the program runs. Fields that another CPU may write at the same time are counters and marks.
    unsafe { FLOWS.get_ptr_mut(key).map(|flow| &mut *flow) }
}

/// The flow of a backend's packet.
#[inline(always)]
pub fn from_backend(key: &BackendKey) -> Option<&'static mut ToClient> {
    // SAFETY: as in `from_client`.
    unsafe { RETURNS.get_ptr_mut(key).map(|flow| &mut *flow) }
}

/// Adds to a counter that two CPUs may share.
#[inline(always)]
pub fn add(counter: &mut u64, amount: u64) {
    // The target has no compare-and-swap in Rust's eyes, so `AtomicU64` lacks `fetch_add`; the instruction
    // exists since the first BPF.
    // SAFETY: the counter is eight octets of a live map value, aligned to eight.
    unsafe {
        asm!("lock *(u64 *)({counter} + 0) += {amount}",
            counter = in(reg) core::ptr::from_mut(counter), amount = in(reg) amount);
    }
}
