//! Two hints for the kernel's verifier. On the host both are the identity.

/// Makes the verifier forget every bit of `value` that it does not know in `salt`. All rounds of a loop, or all
/// branches that lead here, then look alike to it, and it checks what follows once, not once for each. `salt` must come
/// from a map or a helper, or the verifier knows it.
#[inline(always)]
#[must_use]
pub fn forget(value: u64, salt: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: two exclusive ors with the same number undo each other.
        unsafe {
            core::arch::asm!("{v} ^= {s}", "{v} ^= {s}", v = inout(reg) value, s = in(reg) salt);
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = salt;
        value
    }
}

/// Keeps the compiler from leaving out a check of `value` that it can prove and the verifier cannot, and from
/// keeping the checked value on the stack, where older verifiers lose its bounds.
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
