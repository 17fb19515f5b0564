//! ICMPv6 errors about packets that the daemon sent.

use std::net::{Ipv6Addr, SocketAddrV6};

use ingress_common::maps::BackendKey;

const IPV6: usize = 40;
const ICMPV6: usize = 8;
const DESTINATION_UNREACHABLE: u8 = 1;
const TIME_EXCEEDED: u8 = 3;
const PARAMETER_PROBLEM: u8 = 4;

/// The backend that an error says cannot be reached (RFC 4443 §3.1, 3.3, 3.4), from the packet it quotes.
pub fn unreachable(packet: &[u8]) -> Option<(BackendKey, SocketAddrV6)> {
    let kind = *packet.get(IPV6)?;
    if ![DESTINATION_UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM].contains(&kind) {
        return None;
    }
    let quoted = packet.get(IPV6 + ICMPV6..)?;
    let source: [u8; 16] = quoted.get(8..24)?.try_into().ok()?;
    let backend: [u8; 16] = quoted.get(24..40)?.try_into().ok()?;
    let source_port: [u8; 2] = quoted.get(40..42)?.try_into().ok()?;
    let backend_port: [u8; 2] = quoted.get(42..44)?.try_into().ok()?;
    let key = BackendKey::new(backend, backend_port, source, source_port);
    let address =
        SocketAddrV6::new(Ipv6Addr::from(backend), u16::from_be_bytes(backend_port), 0, 0);
    Some((key, address))
}
