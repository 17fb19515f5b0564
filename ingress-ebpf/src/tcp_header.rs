//! The fields that network-types' TCP header keeps in bit fields, read as octets.

use ingress_common::{
    splice::Fields,
    tcp::{FLAGS_OFFSET, Flags},
};
use network_types::tcp::TcpHdr;

/// Fields of a TCP header.
pub trait TcpHeader {
    /// The flag octet.
    fn flags(&self) -> Flags;

    /// The octet of the data offset and of the bits beside it, one of which Accurate ECN sets.
    fn offset_octet(&self) -> u8;

    /// The fields that the splice changes.
    fn fields(&self) -> Fields;

    /// Whether the header claims to be shorter than a TCP header can be.
    #[inline(always)]
    fn is_short(&self) -> bool {
        self.offset_octet() < 5 << 4
    }

    /// Octets of options; a data offset below five makes none.
    #[inline(always)]
    fn options_len(&self) -> usize {
        let words = self.offset_octet() >> 4;
        if words < 5 { 0 } else { (words as usize - 5) * 4 }
    }
}

impl TcpHeader for TcpHdr {
    #[inline(always)]
    fn flags(&self) -> Flags {
        // SAFETY: the offset is within the twenty octets of a TCP header.
        Flags(unsafe { *core::ptr::from_ref(self).cast::<u8>().add(FLAGS_OFFSET) })
    }

    #[inline(always)]
    fn fields(&self) -> Fields {
        Fields { seq: self.seq, ack: self.ack_seq, window: self.window }
    }

    #[inline(always)]
    fn offset_octet(&self) -> u8 {
        // SAFETY: as in `flags`; it is the octet before them.
        unsafe { *core::ptr::from_ref(self).cast::<u8>().add(FLAGS_OFFSET - 1) }
    }
}
