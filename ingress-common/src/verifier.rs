//! Two hints for the kernel's verifier. On the host both are the identity.

/// Makes the verifier forget what it knows of `value`: every round of a loop then looks to it like the one
/// before, and it checks a loop's body once instead of once for each path through all rounds. `salt` must
/// be read from a map, or the verifier knows it, too.
#[inline(always)]
#[must_use]
pub fn forget(value: usize, salt: u8) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: two exclusive ors with the same number undo each other.
        unsafe {
            core::arch::asm!("{v} ^= {s}", "{v} ^= {s}", v = inout(reg) value, s = in(reg) salt as usize);
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = salt;
        value
    }
}

/// Keeps the compiler from leaving out a check of `value` that it can prove and the verifier cannot.
#[inline(always)]
#[must_use]
pub fn opaque(value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // An empty template would leave two line records at one instruction, which the kernel refuses.
        // SAFETY: a register is moved to itself.
        unsafe { core::arch::asm!("{v} = {v}", v = inout(reg) value) };
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    value
}
