//! ICMP errors from the world about packets that we sent on behalf of a backend.

use ingress_common::{
    icmp::v4,
    ip::{IPV4_LEN, TCP},
    maps::ClientKey,
    upcall::Upcall,
    verdict::{DropReason, Verdict},
};
use network_types::ip::Ipv4Hdr;

use crate::{admit, flows, packet::Packet, upcall};

/// Where the quoted packet stands, and the ports behind its header.
const QUOTED: usize = IPV4_LEN + 8;
const PORTS: usize = QUOTED + IPV4_LEN;

/// An error about a packet of a flow goes to the daemon, which translates it. About anything else of a listed port,
/// nobody here can do something: the kernel has no connection there.
#[inline(always)]
pub fn from_world<const L2: usize>(packet: &Packet<L2>, ip: &Ipv4Hdr) -> Verdict {
    let Some(kind) = packet.read::<u8>(IPV4_LEN) else { return Verdict::Kernel };
    let kind = *kind;
    if kind != v4::DESTINATION_UNREACHABLE
        && kind != v4::TIME_EXCEEDED
        && kind != v4::PARAMETER_PROBLEM
    {
        return Verdict::Kernel;
    }
    let Some(quoted) = packet.read::<Ipv4Hdr>(QUOTED) else { return Verdict::Kernel };
    if ip.vihl != 0x45 || quoted.vihl != 0x45 || quoted.proto != TCP {
        return Verdict::Kernel;
    }
    let Some(ports) = packet.read::<[[u8; 2]; 2]>(PORTS) else { return Verdict::Kernel };
    let [from, to] = *ports;
    let key = ClientKey::new(quoted.dst_addr, to, quoted.src_addr, from);
    if flows::from_client(&key).is_none() {
        return admit::refuse_listed(&key, DropReason::NoFlow);
    }
    upcall::hand_up_error(packet, Upcall::Icmp4Error, upcall::neighbourhood(quoted.dst_addr))
}
