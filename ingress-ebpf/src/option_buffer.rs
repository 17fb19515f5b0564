//! The options of a TCP header, copied out of a packet and back.

use aya_ebpf::{helpers::bpf_skb_load_bytes, macros::map, maps::PerCpuArray};
use ingress_common::{
    tcp::{MAX_OPTIONS_LEN, OPTION_BUFFER_LEN},
    verifier::opaque,
};

use crate::packet::{Packet, Step};

#[map]
static OPTIONS: PerCpuArray<[u64; OPTION_BUFFER_LEN / 8]> = PerCpuArray::with_max_entries(1, 0);

/// A zeroed buffer for one option area. The stack has no room to spare.
#[inline(always)]
pub fn zeroed() -> Option<&'static mut [u8; OPTION_BUFFER_LEN]> {
    let buffer = OPTIONS.get_ptr_mut(0)?;
    // SAFETY: the slot belongs to this CPU, and no program holds its buffer while another runs.
    unsafe {
        *buffer = [0; OPTION_BUFFER_LEN / 8];
        Some(&mut *buffer.cast())
    }
}

impl<const L2: usize> Packet<L2> {
    /// The `len` octets of TCP options at `offset`, in a buffer of zeros that this CPU has for them.
    #[inline(always)]
    pub fn options(
        &self,
        offset: usize,
        len: usize,
    ) -> Option<&'static mut [u8; OPTION_BUFFER_LEN]> {
        let buffer = zeroed()?;
        let len = options_len(len)?;
        // SAFETY: `len` is at most 40, the buffer has 64 octets.
        let failed = unsafe {
            bpf_skb_load_bytes(
                self.skb().cast(),
                (L2 + offset) as u32,
                buffer.as_mut_ptr().cast(),
                len,
            )
        };
        if failed == 0 { Some(buffer) } else { None }
    }

    /// Stores the first `len` octets of `buffer` at `offset`.
    #[inline(always)]
    pub fn write_options(
        &self,
        offset: usize,
        buffer: &[u8; OPTION_BUFFER_LEN],
        len: usize,
    ) -> Step<()> {
        match options_len(len) {
            // SAFETY: `len` is at most 40, the buffer has 64 octets.
            Some(len) => unsafe { self.write_bytes(offset, buffer.as_ptr(), len) },
            None => Ok(()),
        }
    }
}

/// The length of an option area, for a helper: both bounds are checked on one register, or older verifiers lose one.
/// The upper bound goes first: it makes the value unsigned, of which newer verifiers would else lose the lower bound.
#[inline(always)]
fn options_len(len: usize) -> Option<u32> {
    let len = opaque(len as u64);
    if len > MAX_OPTIONS_LEN as u64 {
        return None;
    }
    let len = opaque(len);
    if len < 4 { None } else { Some(len as u32) }
}
