//! An ICMPv6 error from a site, for the client (RFC 7915 §5.2).

use ingress_common::ip::IPV6_LEN;

use super::{Error, ICMP_LEN, Mtus, QuotedV6, Spliced};

/// Translates an error about a packet of `flow`. The hop that reports it has no IPv4 address; it appears
/// as the address of ours that the client connected to (RFC 7915 §5.1, RFC 6791).
///
/// `None` where the RFC says to drop it silently.
#[must_use]
pub fn to_v4(packet: &[u8], flow: &Spliced, mtus: Mtus) -> Option<Vec<u8>> {
    let quoted = QuotedV6::of(packet)?;
    let error = translate(packet.get(IPV6_LEN..IPV6_LEN + ICMP_LEN)?, mtus)?;
    Some(error.over_v4(flow.listen, flow.client, &quoted.as_sent(flow)))
}

fn translate(header: &[u8], mtus: Mtus) -> Option<Error> {
    let (kind, code) = (header[0], header[1]);
    let detail = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let plain = |kind, code| Some(Error { kind, code, detail: [0; 4] });
    match (kind, code) {
        // No route, beyond scope, address unreachable: host unreachable.
        (1, 0 | 2 | 3) => plain(3, 1),
        (1, 1) => plain(3, 10),
        (1, 4) => plain(3, 3),
        (2, _) => {
            let mtu = detail.min(mtus.tunnel).saturating_sub(20).min(mtus.uplink);
            let [a, b] = u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes();
            Some(Error { kind: 3, code: 4, detail: [0, 0, a, b] })
        }
        (3, 0 | 1) => plain(11, code),
        (4, 0) => pointer(detail).map(|at| Error { kind: 12, code: 0, detail: [at, 0, 0, 0] }),
        (4, 1) => plain(3, 2),
        _ => None,
    }
}

/// RFC 7915 §5.2, figure 6.
fn pointer(at: u32) -> Option<u8> {
    Some(match at {
        0 => 0,
        1 => 1,
        4 | 5 => 2,
        6 => 9,
        7 => 8,
        8..=23 => 12,
        24..=39 => 16,
        _ => return None,
    })
}
