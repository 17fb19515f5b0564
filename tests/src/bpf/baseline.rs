//! The yardstick of speed: a program that never changes, and does what packet programs do, again and again:
//! it reads octets of the packet by a helper and sums them up by another. What ours take is told in its time,
//! so that a slow machine has the same numbers as a quick one.

use crate::bpf::assemble::{Kind, add, call, copy, exit, load, set, unless_zero};
use std::io;
use std::os::fd::OwnedFd;

const SKB_LOAD_BYTES: i32 = 26;
const CSUM_DIFF: i32 = 28;
const ROUNDS: i32 = 16;
/// Octets read each time, which a frame must have.
pub const OCTETS: i32 = 32;

/// Loads it, for tc. To change it is to change the meaning of every number that was ever told in it.
pub fn program() -> io::Result<OwnedFd> {
    load(
        Kind::Tc,
        &[
            copy(6, 1),
            set(7, ROUNDS),
            set(8, 0),
            // Reads.
            copy(1, 6),
            set(2, 0),
            copy(3, 10),
            add(3, -OCTETS),
            set(4, OCTETS),
            call(SKB_LOAD_BYTES),
            // Sums up.
            set(1, 0),
            set(2, 0),
            copy(3, 10),
            add(3, -OCTETS),
            set(4, OCTETS),
            copy(5, 8),
            call(CSUM_DIFF),
            copy(8, 0),
            add(7, -1),
            unless_zero(7, -16),
            set(0, -1),
            exit(),
        ],
    )
}
