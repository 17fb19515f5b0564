//! As many instructions as small programs need (`linux/bpf.h`), and the kernel's door for what they make.

use crate::bpf::syscall::{self, Load};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `BPF_PROG_TYPE_SCHED_CLS`
    Tc,
    /// `BPF_PROG_TYPE_XDP`
    Xdp,
}

impl Kind {
    const fn number(self) -> u32 {
        match self {
            Self::Tc => 3,
            Self::Xdp => 6,
        }
    }
}

/// A register; 1 to 5 are arguments, 6 to 9 outlast calls, 10 is the end of the stack.
pub type Register = u8;

/// An instruction as the kernel has it, on a little-endian machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Instruction(u64);

const fn encode(code: u8, to: Register, from: Register, offset: i16, value: i32) -> Instruction {
    let registers = (to | from << 4) as u64;
    let offset = offset.cast_unsigned() as u64;
    let value = value.cast_unsigned() as u64;
    Instruction(code as u64 | registers << 8 | offset << 16 | value << 32)
}

/// `to = value`
#[must_use]
pub const fn set(to: Register, value: i32) -> Instruction {
    encode(0xb7, to, 0, 0, value)
}

/// `to = from`
#[must_use]
pub const fn copy(to: Register, from: Register) -> Instruction {
    encode(0xbf, to, from, 0, 0)
}

/// `to += value`
#[must_use]
pub const fn add(to: Register, value: i32) -> Instruction {
    encode(0x07, to, 0, 0, value)
}

/// `to &= value`
#[must_use]
pub const fn and(to: Register, value: i32) -> Instruction {
    encode(0x57, to, 0, 0, value)
}

/// `to |= value`
#[must_use]
pub const fn or(to: Register, value: i32) -> Instruction {
    encode(0x47, to, 0, 0, value)
}

/// `to ^= value`
#[must_use]
pub const fn xor(to: Register, value: i32) -> Instruction {
    encode(0xa7, to, 0, 0, value)
}

/// `to = *(u32 *)(from + offset)`
#[must_use]
pub const fn load4(to: Register, from: Register, offset: i16) -> Instruction {
    encode(0x61, to, from, offset, 0)
}

/// `to = *(u8 *)(from + offset)`
#[must_use]
pub const fn load1(to: Register, from: Register, offset: i16) -> Instruction {
    encode(0x71, to, from, offset, 0)
}

/// `*(u16 *)(at + offset) = from`
#[must_use]
pub const fn store2(at: Register, offset: i16, from: Register) -> Instruction {
    encode(0x6b, at, from, offset, 0)
}

/// `*(u16 *)(at + offset) = value`
#[must_use]
pub const fn put2(at: Register, offset: i16, value: u16) -> Instruction {
    encode(0x6a, at, 0, offset, value as i32)
}

/// `to = the address of the value in a map of one` (`BPF_PSEUDO_MAP_VALUE`)
#[must_use]
pub fn address_in(to: Register, map: BorrowedFd<'_>) -> [Instruction; 2] {
    [encode(0x18, to, 2, 0, map.as_raw_fd()), encode(0, 0, 0, 0, 0)]
}

/// `lock *(u64 *)at += from`
#[must_use]
pub const fn atomic_add8(at: Register, from: Register) -> Instruction {
    encode(0xdb, at, from, 0, 0)
}

/// `if register != 0 goto offset`
#[must_use]
pub const fn unless_zero(register: Register, offset: i16) -> Instruction {
    encode(0x55, register, 0, offset, 0)
}

/// `if register == value goto offset`
#[must_use]
pub const fn if_equal(register: Register, value: i32, offset: i16) -> Instruction {
    encode(0x15, register, 0, offset, value)
}

/// `if left > right goto offset`
#[must_use]
pub const fn if_greater(left: Register, right: Register, offset: i16) -> Instruction {
    encode(0x2d, left, right, offset, 0)
}

/// `r0 = helper(r1, …, r5)`
#[must_use]
pub const fn call(helper: i32) -> Instruction {
    encode(0x85, 0, 0, 0, helper)
}

/// `return r0`
#[must_use]
pub const fn exit() -> Instruction {
    encode(0x95, 0, 0, 0, 0)
}

/// Has the kernel verify a program.
pub fn load(kind: Kind, program: &[Instruction]) -> io::Result<OwnedFd> {
    let count = u32::try_from(program.len()).map_err(io::Error::other)?;
    let license = c"Dual MIT/GPL";
    let mut attributes = Load {
        prog_type: kind.number(),
        insn_cnt: count,
        insns: program.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        ..Load::default()
    };
    // SAFETY: the attributes lead to so many instructions and to a string with its end, which outlive the call.
    unsafe { syscall::load(&mut attributes) }
}
