//! An ICMP error from the world, for the backend (RFC 7915 §4.2).

use ingress_common::{
    addr::Nat46Prefix,
    ip::{IPV4_LEN, IPV6_LEAST_MTU},
};

use super::{Error, ICMP_LEN, Mtus, QuotedV4, Spliced};

/// RFC 1191 §7.1: what an old router without an MTU in its error may have meant.
const PLATEAUS: [u16; 10] = [32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

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
    let plain = |kind, code| Some(Error { kind, code, detail: [0; 4] });
    match (header[0], header[1]) {
        (3, 0 | 1 | 5 | 6 | 7 | 8 | 11 | 12) => plain(1, 0),
        // Protocol unreachable: a parameter problem that points at the next header.
        (3, 2) => Some(Error { kind: 4, code: 1, detail: [0, 0, 0, 6] }),
        (3, 3) => plain(1, 4),
        (3, 4) => {
            let told = u16::from_be_bytes([header[6], header[7]]);
            let mtu = if told == 0 { plateau(quoted_len) } else { told };
            // Of less, the backend would add fragment headers that nobody needs (RFC 8200 §5).
            let mtu = (u32::from(mtu).min(mtus.uplink) + 20).min(mtus.tunnel).max(IPV6_LEAST_MTU);
            Some(Error { kind: 2, code: 0, detail: mtu.to_be_bytes() })
        }
        (3, 9 | 10 | 13 | 15) => plain(1, 1),
        (11, code @ (0 | 1)) => plain(3, code),
        (12, 0 | 2) => {
            pointer(header[4]).map(|at| Error { kind: 4, code: 0, detail: [0, 0, 0, at] })
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
