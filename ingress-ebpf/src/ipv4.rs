//! IPv4 headers that are written here.

use ingress_common::checksum::Sum;
use network_types::ip::Ipv4Hdr;

/// `header` with the right checksum, whatever its checksum field held. For headers without options.
#[inline(always)]
pub fn sealed(mut header: Ipv4Hdr) -> Ipv4Hdr {
    header.check = Sum(0)
        .add2([header.vihl, header.tos])
        .add2(header.tot_len)
        .add2(header.id)
        .add2(header.frags)
        .add2([header.ttl, header.proto])
        .add4(header.src_addr)
        .add4(header.dst_addr)
        .checksum();
    header
}
