//! MSS clamping on forwarded SYNs, so that no segment ever has to be refused for its size.

use ingress_common::{
    tcp::{self, Flags},
    verdict::Verdict,
};
use network_types::tcp::TcpHdr;

use crate::packet::Packet;

/// Offset of the TCP header behind a plain IPv6 header.
const TCP: usize = 40;
/// Octets that IPv6 and TCP headers take from the MTU.
const HEADERS: u32 = 60;

/// Lowers the MSS option of a SYN behind a plain IPv6 header to what `mtu` carries.
#[inline(always)]
pub fn ipv6<const L2: usize>(packet: &Packet<L2>, mtu: u32) -> Result<(), Verdict> {
    let Some(tcp) = packet.read::<TcpHdr>(TCP) else { return Ok(()) };
    if !flags(&tcp).contains(Flags::SYN) || mtu <= HEADERS {
        return Ok(());
    }
    let len = options_len(&tcp);
    let Some(options) = packet.options(TCP + tcp::HEADER_LEN, len) else { return Ok(()) };
    let limit = if mtu > 0xffff { u16::MAX } else { (mtu - HEADERS) as u16 };
    if let Some((at, mss, change)) = tcp::clamp_mss(options, len, limit) {
        packet.write(TCP + tcp::HEADER_LEN + (at & tcp::OPTION_MASK), &mss)?;
        packet.change_checksum(TCP + 16, change)?;
    }
    Ok(())
}

/// The flag octet.
#[inline(always)]
pub fn flags(tcp: &TcpHdr) -> Flags {
    // SAFETY: a TCP header has twenty octets, and the flags are the fourteenth.
    Flags(unsafe { *core::ptr::from_ref(tcp).cast::<u8>().add(13) })
}

/// The octet of the data offset and of the bits beside it, one of which Accurate ECN sets.
#[inline(always)]
pub fn offset_octet(tcp: &TcpHdr) -> u8 {
    // SAFETY: as in `flags`; it is the thirteenth octet.
    unsafe { *core::ptr::from_ref(tcp).cast::<u8>().add(12) }
}

/// Whether the header claims to be shorter than one can be.
#[inline(always)]
pub fn is_short(tcp: &TcpHdr) -> bool {
    offset_octet(tcp) < 5 << 4
}

/// Octets of options; a data offset below five makes none.
#[inline(always)]
pub fn options_len(tcp: &TcpHdr) -> usize {
    let words = offset_octet(tcp) >> 4;
    if words < 5 { 0 } else { (words as usize - 5) * 4 }
}
