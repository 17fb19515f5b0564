//! An ICMPv6 error from a site, for the client (RFC 7915 §5.2).

use ingress_common::{
    icmp::{v4, v6},
    ip::{IPV6_LEN, TRANSLATION_GROWTH},
};

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
    let error = |kind, code, detail| Some(Error { kind, code, detail });
    let unreachable = |code| error(v4::DESTINATION_UNREACHABLE, code, [0; 4]);
    match (kind, code) {
        (
            v6::DESTINATION_UNREACHABLE,
            v6::NO_ROUTE | v6::BEYOND_SCOPE | v6::ADDRESS_UNREACHABLE,
        ) => unreachable(v4::HOST_UNREACHABLE),
        (v6::DESTINATION_UNREACHABLE, v6::ADMINISTRATIVELY_PROHIBITED) => {
            unreachable(v4::HOST_PROHIBITED)
        }
        (v6::DESTINATION_UNREACHABLE, v6::PORT_UNREACHABLE) => unreachable(v4::PORT_UNREACHABLE),
        (v6::PACKET_TOO_BIG, _) => {
            let mtu = detail.min(mtus.tunnel).saturating_sub(TRANSLATION_GROWTH).min(mtus.uplink);
            let [a, b] = u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes();
            error(v4::DESTINATION_UNREACHABLE, v4::FRAGMENTATION_NEEDED, [0, 0, a, b])
        }
        (v6::TIME_EXCEEDED, v6::HOP_LIMIT_EXCEEDED) => {
            error(v4::TIME_EXCEEDED, v4::TTL_EXCEEDED, [0; 4])
        }
        (v6::TIME_EXCEEDED, v6::REASSEMBLY_TIME_EXCEEDED) => {
            error(v4::TIME_EXCEEDED, v4::REASSEMBLY_TIME_EXCEEDED, [0; 4])
        }
        (v6::PARAMETER_PROBLEM, v6::ERRONEOUS_FIELD) => {
            error(v4::PARAMETER_PROBLEM, v4::POINTER, [pointer(detail)?, 0, 0, 0])
        }
        (v6::PARAMETER_PROBLEM, v6::UNRECOGNIZED_NEXT_HEADER) => {
            unreachable(v4::PROTOCOL_UNREACHABLE)
        }
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
