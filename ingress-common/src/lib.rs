//! What the BPF programs and the daemon share: map types, and every pure packet rule.
//!
//! The crate is `no_std` and compiled twice, for `bpfel-unknown-none` and for the host, so each rule that
//! runs on a packet in the kernel is property-tested in userspace.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod addr;
pub mod checksum;
pub mod cookie;
pub mod heartbeat;
pub mod icmp;
pub mod ip;
pub mod maps;
pub mod policy;
pub mod rate;
mod siphash;
pub mod splice;
pub mod spoofing;
pub mod storm;
pub mod tcp;
pub mod upcall;
pub mod verdict;
pub mod verifier;
