//! Spliced flows, client to backend: IPv4 in by the uplink, IPv6 out by a tunnel (RFC 7915 §4).

use ingress_common::{
    checksum::Sum,
    ip::{IPV4_LEN, TCP, TRANSLATION_GROWTH},
    maps::{ClientKey, Device, ToBackend, closing_after},
    splice::{Fields, OptionShift},
    storm::{self, End},
    tcp::{self, Flags},
    upcall::Upcall,
    verdict::{DropReason, Traffic, Verdict},
};
use network_types::{ip::Ipv6Hdr, tcp::TcpHdr};

use crate::{
    admit, count, devices, flows, next_hops, options,
    packet::{ETH_P_IPV6, Packet, Step, now},
    segment::Segment,
    storm::is_ack_storm,
    tcp_header::TcpHeader,
    upcall,
};

/// Where the TCP options stand, and the checksum.
const OPTIONS: usize = IPV4_LEN + tcp::HEADER_LEN;
const CHECKSUM: usize = IPV4_LEN + tcp::CHECKSUM_OFFSET;
/// What the network header gains, in octets.
const GROWTH: i32 = TRANSLATION_GROWTH as i32;
/// A client that exceeds the backend's MSS is told so only after a silence of this length, in nanoseconds, which
/// suggests a lost segment; not while everything gets through.
const MSS_REPORT_SILENCE: u64 = 100_000_000;

/// From the uplink.
#[inline(always)]
pub fn from_client<const L2: usize>(packet: &Packet<L2>) -> Step<Verdict> {
    let segment = Segment::parse(packet)?;
    match flows::from_client(&segment.key) {
        None => admit::without_flow(packet, &segment),
        Some(flow) if flow.is_opened_anew_by(segment.flags, segment.tcp.ack_seq) => {
            admit::opens_anew(packet, &segment, flow)
        }
        Some(flow) => established(packet, &segment, flow),
    }
}

/// A segment of a flow. The same steps, in the same order, as in `to_client`.
#[inline(always)]
fn established<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    flow: &mut ToBackend,
) -> Step<Verdict> {
    segment.trim(packet)?;
    let tunnel = devices::site(flow.site).ok_or(Verdict::Drop(DropReason::SiteDown))?;
    admit_size(packet, segment, tunnel)?;
    report_exceeded_mss(packet, segment, flow);
    let old = segment.tcp.fields();
    admit_ack(segment, flow, &old)?;

    // The window of a SYN is never scaled (RFC 7323 §2.2).
    let expand = if segment.flags.contains(Flags::SYN) { 0 } else { flow.expand };
    let new = old.to_backend(flow.delta, expand);
    let stamped = flow.timestamps != 0 && segment.flags.contains(Flags::ACK);
    let shift = OptionShift::to_backend(flow.delta, flow.ts_delta, stamped);
    let moved = options::shift(packet, OPTIONS, segment.options, &shift)?;
    let header = packet.at::<TcpHdr>(IPV4_LEN).ok_or(Verdict::Drop(DropReason::Malformed))?;
    // SAFETY: `at` has checked the whole header.
    unsafe {
        (*header).ack_seq = new.ack;
        (*header).window = new.window;
    }
    packet.change_checksum(CHECKSUM, new.change_from(old).plus(moved))?;
    packet.change_pseudo_checksum(CHECKSUM, Sum(flow.address_change as u32))?;

    rewrite_ip(packet, segment, flow)?;
    account(packet, segment, flow);
    let next_hop = next_hops::to_backend(tunnel, &flow.backend);
    Ok(Verdict::Forward(devices::through(tunnel, next_hop)))
}

/// Refuses a packet whose hop limit is used up, or which is too big for the tunnel.
#[inline(always)]
fn admit_size<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    tunnel: &Device,
) -> Step<()> {
    let client = segment.key.client;
    if segment.ip.ttl <= 1 {
        return Err(upcall::report(packet, Upcall::HopLimit, client, DropReason::HopLimit));
    }
    if !packet.fits(tunnel.mtu, segment.len, headers_len(segment), GROWTH) {
        return Err(upcall::report(packet, Upcall::TooBig, client, DropReason::TooBig));
    }
    Ok(())
}

/// Tells the daemon of a segment above the backend's MSS. It is forwarded all the same: most backends take it, and not
/// every client hears what it is told.
#[inline(always)]
fn report_exceeded_mss<const L2: usize>(packet: &Packet<L2>, segment: &Segment, flow: &ToBackend) {
    if let Some(mss) = flow.mss()
        && packet.largest(segment.len, headers_len(segment)) > OPTIONS as u32 + mss as u32
        && now().saturating_sub(flow.last_seen) > MSS_REPORT_SILENCE
        && upcall::take_flows_token(upcall::neighbourhood(segment.key.client))
    {
        upcall::hand_up(packet, Upcall::TooBig);
    }
}

/// Drops an acknowledgment that is part of a storm.
#[inline(always)]
fn admit_ack(segment: &Segment, flow: &ToBackend, fields: &Fields) -> Step<()> {
    let Segment { flags, payload, options, .. } = *segment;
    if storm::is_bare(flags, payload, options, flow.timestamps != 0) {
        let ClientKey { client, client_port, listen_port, .. } = segment.key;
        if is_ack_storm(storm::slot(client, client_port, listen_port), End::Client, fields) {
            return Err(Verdict::Drop(DropReason::AckStorm));
        }
    }
    Ok(())
}

/// An IPv6 header in place of the IPv4 one (RFC 7915 §4.1).
#[inline(always)]
fn rewrite_ip<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    flow: &ToBackend,
) -> Step<()> {
    let ip = &segment.ip;
    let header = Ipv6Hdr {
        vcf: [0x60 | ip.tos >> 4, ip.tos << 4, 0, 0],
        payload_len: ((segment.len - IPV4_LEN as u32) as u16).to_be_bytes(),
        next_hdr: TCP,
        hop_limit: ip.ttl - 1,
        src_addr: flow.source,
        dst_addr: flow.backend,
    };
    packet.change_protocol(ETH_P_IPV6)?;
    packet.write(0, &header)?;
    // The IPv4 header summed up to zero; the new one does not.
    packet.add_to_packet_sum(
        Sum(0)
            .add4(header.vcf)
            .add2(header.payload_len)
            .add2([header.next_hdr, header.hop_limit])
            .add16(&header.src_addr)
            .add16(&header.dst_addr),
    );
    Ok(())
}

#[inline(always)]
fn account<const L2: usize>(packet: &Packet<L2>, segment: &Segment, flow: &mut ToBackend) {
    flow.last_seen = now();
    flow.closing = closing_after(flow.closing, segment.flags);
    let segments = packet.segments(segment.len, headers_len(segment));
    flows::add(&mut flow.packets, segments);
    flows::add(&mut flow.bytes, segment.len as u64);
    count::traffic(Traffic::Nat46In, segments, segment.len as u64);
}

/// Octets of headers up to the payload.
#[inline(always)]
fn headers_len(segment: &Segment) -> u32 {
    (OPTIONS + segment.options) as u32
}
