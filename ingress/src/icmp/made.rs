//! Errors that this translator itself has to report, as a router on the way would.

use ingress_common::{
    icmp::{v4, v6},
    ip::{IPV4_LEN, IPV6_LEAST_MTU, IPV6_LEN, TRANSLATION_GROWTH},
};

use super::{Error, LONGEST_V4, LONGEST_V6};

/// A client's packet is too big for the tunnel: Fragmentation Needed, with the room that IPv4 has in it.
#[must_use]
pub fn too_big_for_client(packet: &[u8], tunnel_mtu: u32) -> Option<Vec<u8>> {
    let mtu = u16::try_from(tunnel_mtu.saturating_sub(TRANSLATION_GROWTH)).unwrap_or(u16::MAX);
    let [a, b] = mtu.to_be_bytes();
    to_client(
        packet,
        &Error {
            kind: v4::DESTINATION_UNREACHABLE,
            code: v4::FRAGMENTATION_NEEDED,
            detail: [0, 0, a, b],
        },
    )
}

/// A backend's packet is too big for the uplink: Packet Too Big, with the room that IPv6 would have in it.
#[must_use]
pub fn too_big_for_backend(packet: &[u8], uplink_mtu: u32, from: [u8; 16]) -> Option<Vec<u8>> {
    let mtu = (uplink_mtu + TRANSLATION_GROWTH).max(IPV6_LEAST_MTU);
    to_backend(
        packet,
        &Error { kind: v6::PACKET_TOO_BIG, code: 0, detail: mtu.to_be_bytes() },
        from,
    )
}

/// A client's packet came with its last hop: Time Exceeded.
#[must_use]
pub fn hop_limit_for_client(packet: &[u8]) -> Option<Vec<u8>> {
    to_client(packet, &Error { kind: v4::TIME_EXCEEDED, code: v4::TTL_EXCEEDED, detail: [0; 4] })
}

/// A backend's packet came with its last hop: Time Exceeded.
#[must_use]
pub fn hop_limit_for_backend(packet: &[u8], from: [u8; 16]) -> Option<Vec<u8>> {
    to_backend(
        packet,
        &Error { kind: v6::TIME_EXCEEDED, code: v6::HOP_LIMIT_EXCEEDED, detail: [0; 4] },
        from,
    )
}

/// To the sender of an IPv4 packet, from the address that it was sent to.
fn to_client(packet: &[u8], error: &Error) -> Option<Vec<u8>> {
    let header = packet.first_chunk::<IPV4_LEN>()?;
    let from = header[16..20].try_into().ok()?;
    let to = header[12..16].try_into().ok()?;
    Some(error.over_v4(from, to, &packet[..packet.len().min(LONGEST_V4)]))
}

/// To the sender of an IPv6 packet.
fn to_backend(packet: &[u8], error: &Error, from: [u8; 16]) -> Option<Vec<u8>> {
    let to = packet.first_chunk::<IPV6_LEN>()?[8..24].try_into().ok()?;
    Some(error.over_v6(from, to, &packet[..packet.len().min(LONGEST_V6)]))
}
