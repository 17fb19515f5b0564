//! IPv6: between the world and the sites, as a router would. Whatever needs a router's answer (Packet Too
//! Big, Time Exceeded, hop-by-hop options, unreachable) is left to the kernel, which gives it.

use ingress_common::{
    checksum::Sum,
    ip::{IPV6_LEN, TCP, UDP},
    maps::{Destination, Device},
    spoofing::{TunnelSender, is_spoofed_from_world, leaves_the_sites},
    verdict::{DropReason, Traffic, Verdict},
};
use network_types::ip::Ipv6Hdr;

use crate::{
    clamp, count, devices, gate,
    header_copy::HeaderCopy,
    packet::{Packet, Step},
    routes, to_client,
};

const HOP_BY_HOP: u8 = 0;
/// The offset of the hop limit.
const HOP_LIMIT: usize = 7;

/// From the uplink.
#[inline(always)]
pub fn from_world<const L2: usize>(packet: &Packet<L2>) -> Step<Verdict> {
    let ip = parse(packet)?;
    let to = routes::lookup(&ip.dst_addr);
    match to.destination() {
        Destination::World => return Err(Verdict::Kernel),
        Destination::Nat46 => return Err(Verdict::Drop(DropReason::Nat46FromWorld)),
        Destination::Kernel | Destination::Here | Destination::Site => {}
    }
    let from = routes::lookup(&ip.src_addr).destination();
    if is_spoofed_from_world(from, to.destination(), ip.next_hdr) {
        return Err(Verdict::Drop(DropReason::SpoofedFromWorld));
    }
    if to.destination() != Destination::Site {
        return Err(Verdict::Kernel);
    }
    // What is left to the kernel from here on, it forwards.
    gate::check_inbound(packet, &ip)?;
    if from == Destination::Kernel {
        return Err(Verdict::Kernel);
    }
    let tunnel = devices::site(to.site).ok_or(Verdict::Kernel)?;
    let uplink = devices::uplink().ok_or(Verdict::Kernel)?;
    route(packet, &ip, (tunnel, to.next_hop), narrower(tunnel, uplink), Traffic::Ipv6In)
}

/// From a tunnel.
#[inline(always)]
pub fn from_site<const L2: usize>(packet: &Packet<L2>) -> Step<Verdict> {
    let mut ip = parse(packet)?;
    let from = routes::lookup(&ip.src_addr);
    let to = routes::lookup(&ip.dst_addr);
    let home = match TunnelSender::of(from.destination(), to.destination(), ip.next_hdr) {
        TunnelSender::Site => devices::site(from.site),
        TunnelSender::Router => return to_client::icmp_error(packet, &ip),
        TunnelSender::Kernel => return Err(Verdict::Kernel),
        TunnelSender::Spoofed => None,
    };
    let home = match home {
        Some(home) if home.ifindex == packet.ifindex() => home,
        Some(_) | None => return Err(Verdict::Drop(DropReason::SpoofedFromSite)),
    };
    if leaves_the_sites(to.destination()) {
        gate::note_outbound(packet, &ip);
    }
    match to.destination() {
        Destination::Kernel | Destination::Here => Ok(Verdict::Kernel),
        Destination::Nat46 => to_client::from_backend(packet, &mut ip),
        Destination::World => {
            let uplink = devices::uplink().ok_or(Verdict::Kernel)?;
            route(packet, &ip, (uplink, to.next_hop), narrower(home, uplink), Traffic::Ipv6Out)
        }
        Destination::Site => {
            let other = devices::site(to.site).ok_or(Verdict::Kernel)?;
            route(packet, &ip, (other, to.next_hop), narrower(home, other), Traffic::Ipv6Out)
        }
    }
}

/// The smaller MTU of two devices.
#[inline(always)]
fn narrower(one: &Device, other: &Device) -> u32 {
    if one.mtu < other.mtu { one.mtu } else { other.mtu }
}

/// One hop: everything a router does to a packet that needs no answer. `narrowest` is the smallest MTU of our devices
/// on the way, to which the MSS is clamped.
#[inline(always)]
fn route<const L2: usize>(
    packet: &Packet<L2>,
    ip: &Ipv6Hdr,
    (out, next_hop): (&Device, u8),
    narrowest: u32,
    path: Traffic,
) -> Step<Verdict> {
    let len = IPV6_LEN as u32 + u16::from_be_bytes(ip.payload_len) as u32;
    let headers = IPV6_LEN as u32 + transport_len(packet, ip);
    let odd = ip.next_hdr == HOP_BY_HOP
        || ip.hop_limit <= 1
        || out.ifindex == packet.ifindex()
        || ip.payload_len == [0, 0]
        || len > packet.len()
        || packet.gso_size() != 0 && !matches!(ip.next_hdr, TCP | UDP)
        || !packet.fits(out.mtu, len, headers, 0);
    if odd {
        return Err(Verdict::Kernel);
    }
    if len < packet.len() {
        packet.resize(len)?;
    }
    if ip.next_hdr == TCP {
        clamp::ipv6(packet, narrowest)?;
    }
    let hop_limit = packet.at::<u8>(HOP_LIMIT).ok_or(Verdict::Kernel)?;
    // SAFETY: `at` has checked the octet.
    unsafe { *hop_limit = ip.hop_limit - 1 };
    packet.add_to_packet_sum(
        Sum(0).sub2([ip.next_hdr, ip.hop_limit]).add2([ip.next_hdr, ip.hop_limit - 1]),
    );
    count::traffic(path, packet.segments(len, headers), len as u64);
    Ok(Verdict::Forward(devices::through(out, next_hop)))
}

#[inline(always)]
fn parse<const L2: usize>(packet: &Packet<L2>) -> Step<HeaderCopy<Ipv6Hdr>> {
    let ip = packet.read::<Ipv6Hdr>(0).ok_or(Verdict::Kernel)?;
    if ip.vcf[0] >> 4 == 6 { Ok(ip) } else { Err(Verdict::Kernel) }
}

/// Length of the transport header in octets, as far as a GSO batch needs it. Of a batch with other headers before the
/// payload the kernel finds it out.
#[inline(always)]
fn transport_len<const L2: usize>(packet: &Packet<L2>, ip: &Ipv6Hdr) -> u32 {
    if ip.next_hdr != TCP {
        return 8;
    }
    match packet.read::<u8>(IPV6_LEN + 12) {
        Some(offset) => (*offset >> 4) as u32 * 4,
        None => 60,
    }
}
