//! An ICMP error from the world, for the backend (RFC 7915 §4.2).

use ingress_common::{
    addr::Nat46Prefix,
    icmp::{v4, v6},
    ip::{IPV4_LEN, IPV6_LEAST_MTU, TRANSLATION_GROWTH},
};

use super::{Error, ICMP_LEN, Mtus, QuotedV4, Spliced};

/// RFC 1191 §7.1: what an old router without an MTU in its error may have meant.
const PLATEAUS: [u16; 10] = [32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/// Offset of the next header in an IPv6 header, for the pointer of a Parameter Problem.
const NEXT_HEADER: u8 = 6;

/// Translates an error about a packet of `flow`. The hop that reports it appears under the NAT46 prefix.
///
/// `None` where the RFC says to drop it silently.
#[must_use]
pub fn to_v6(packet: &[u8], flow: &Spliced, prefix: &Nat46Prefix, mtus: Mtus) -> Option<Vec<u8>> {
    let quoted = QuotedV4::of(packet)?;
    let header = packet.get(..IPV4_LEN + ICMP_LEN)?;
    let quoted_len =
        u16::from_be_bytes(packet.get(IPV4_LEN + ICMP_LEN + 2..)?.first_chunk().copied()?);
    let error = translate(&header[IPV4_LEN..], quoted_len, mtus)?;
    let hop = prefix.embed(header[12..16].try_into().ok()?);
    Some(error.over_v6(hop, flow.backend, &quoted.as_sent(flow)))
}

fn translate(header: &[u8], quoted_len: u16, mtus: Mtus) -> Option<Error> {
    let error = |kind, code, detail| Some(Error { kind, code, detail });
    let unreachable = |code| error(v6::DESTINATION_UNREACHABLE, code, [0; 4]);
    match (header[0], header[1]) {
        (
            v4::DESTINATION_UNREACHABLE,
            v4::NET_UNREACHABLE
            | v4::HOST_UNREACHABLE
            | v4::SOURCE_ROUTE_FAILED
            | v4::NET_UNKNOWN
            | v4::HOST_UNKNOWN
            | v4::SOURCE_ISOLATED
            | v4::NET_UNREACHABLE_FOR_TOS
            | v4::HOST_UNREACHABLE_FOR_TOS,
        ) => unreachable(v6::NO_ROUTE),
        (v4::DESTINATION_UNREACHABLE, v4::PROTOCOL_UNREACHABLE) => {
            error(v6::PARAMETER_PROBLEM, v6::UNRECOGNIZED_NEXT_HEADER, [0, 0, 0, NEXT_HEADER])
        }
        (v4::DESTINATION_UNREACHABLE, v4::PORT_UNREACHABLE) => unreachable(v6::PORT_UNREACHABLE),
        (v4::DESTINATION_UNREACHABLE, v4::FRAGMENTATION_NEEDED) => {
            let told = u16::from_be_bytes([header[6], header[7]]);
            let mtu = if told == 0 { plateau(quoted_len) } else { told };
            // Told of less, the backend would add fragment headers that nobody needs (RFC 8200 §5).
            let mtu = u32::from(mtu).min(mtus.uplink) + TRANSLATION_GROWTH;
            let mtu = mtu.min(mtus.tunnel).max(IPV6_LEAST_MTU);
            error(v6::PACKET_TOO_BIG, 0, mtu.to_be_bytes())
        }
        (
            v4::DESTINATION_UNREACHABLE,
            v4::NET_PROHIBITED
            | v4::HOST_PROHIBITED
            | v4::ADMINISTRATIVELY_PROHIBITED
            | v4::PRECEDENCE_CUTOFF,
        ) => unreachable(v6::ADMINISTRATIVELY_PROHIBITED),
        (v4::TIME_EXCEEDED, v4::TTL_EXCEEDED) => {
            error(v6::TIME_EXCEEDED, v6::HOP_LIMIT_EXCEEDED, [0; 4])
        }
        (v4::TIME_EXCEEDED, v4::REASSEMBLY_TIME_EXCEEDED) => {
            error(v6::TIME_EXCEEDED, v6::REASSEMBLY_TIME_EXCEEDED, [0; 4])
        }
        (v4::PARAMETER_PROBLEM, v4::POINTER | v4::BAD_LENGTH) => {
            error(v6::PARAMETER_PROBLEM, v6::ERRONEOUS_FIELD, [0, 0, 0, pointer(header[4])?])
        }
        _ => None,
    }
}

fn plateau(quoted_len: u16) -> u16 {
    PLATEAUS.into_iter().find(|plateau| *plateau < quoted_len).unwrap_or(68)
}

/// RFC 7915 §4.2, figure 3.
fn pointer(at: u8) -> Option<u8> {
    Some(match at {
        0 => 0,
        1 => 1,
        2 | 3 => 4,
        8 => 7,
        9 => 6,
        12..=15 => 8,
        16..=19 => 24,
        _ => return None,
    })
}
