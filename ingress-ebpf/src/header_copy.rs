//! Headers copied out of packets.

use core::{
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
};

/// A header at an address aligned to eight. The headers' own types have alignment one, so the compiler moves them octet
/// by octet, which takes longer than everything else that is done with a packet.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct HeaderCopy<T>(T);

impl<T: Copy> HeaderCopy<T> {
    /// Copies a header, in words as far as it is made of them.
    ///
    /// # Safety
    /// `from` leads to a whole `T`, which any octets make. Packets are read so, and a packet's network header lies
    /// where words begin on machines that care.
    #[inline(always)]
    pub unsafe fn from(from: *const T) -> Self {
        let mut copy = MaybeUninit::<Self>::uninit();
        let (to, words) = (copy.as_mut_ptr(), size_of::<T>() / 4);
        let mut nth = 0;
        while nth < words {
            // SAFETY: within the `T` on both sides, by the caller's promise and by the type.
            unsafe { to.cast::<u32>().add(nth).write(from.cast::<u32>().add(nth).read()) };
            nth += 1;
        }
        nth *= 4;
        while nth < size_of::<T>() {
            // SAFETY: as for the words.
            unsafe { to.cast::<u8>().add(nth).write(from.cast::<u8>().add(nth).read()) };
            nth += 1;
        }
        // SAFETY: every octet has been written.
        unsafe { copy.assume_init() }
    }
}

impl<T> Deref for HeaderCopy<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for HeaderCopy<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
