//! MSS clamping on forwarded SYNs, so that no segment ever has to be refused for its size.

use ingress_common::{
    ip::IPV6_LEN,
    tcp::{self, Flags, HEADERS_V6},
};
use network_types::tcp::TcpHdr;

use crate::{
    packet::{Packet, Step},
    tcp_header::TcpHeader,
};

const OPTIONS: usize = IPV6_LEN + tcp::HEADER_LEN;
const CHECKSUM: usize = IPV6_LEN + tcp::CHECKSUM_OFFSET;

/// Lowers the MSS option of a SYN behind a plain IPv6 header to what `mtu` carries.
#[inline(always)]
pub fn ipv6<const L2: usize>(packet: &Packet<L2>, mtu: u32) -> Step<()> {
    let Some(tcp) = packet.read::<TcpHdr>(IPV6_LEN) else { return Ok(()) };
    if !tcp.flags().contains(Flags::SYN) || mtu <= HEADERS_V6 {
        return Ok(());
    }
    let len = tcp.options_len();
    let Some(options) = packet.options(OPTIONS, len) else { return Ok(()) };
    let limit = if mtu > 0xffff { u16::MAX } else { (mtu - HEADERS_V6) as u16 };
    if let Some((at, mss, change)) = tcp::clamp_mss(options, len, limit) {
        packet.write(OPTIONS + (at & tcp::OPTION_MASK), &mss)?;
        packet.change_checksum(CHECKSUM, change)?;
    }
    Ok(())
}
