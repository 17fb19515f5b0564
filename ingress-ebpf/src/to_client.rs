//! Spliced flows, backend to client: IPv6 in by a tunnel, IPv4 out by the uplink (RFC 7915 §5).

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_NO_PREALLOC},
    helpers::{bpf_get_prandom_u32, bpf_skb_load_bytes},
    macros::map,
    maps::HashMap,
};
use ingress_common::{
    checksum::Sum,
    icmp::v6,
    ip::{ICMPV6, IPV6_LEN, TCP, TRANSLATION_GROWTH},
    maps::{BackendKey, Device, ToClient, closing_after},
    splice::{Fields, OptionShift},
    storm::{self, End},
    tcp::{self, Flags},
    upcall::Upcall,
    verdict::{DropReason, Traffic, Verdict},
};
use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
};

use crate::{
    count, devices, extension_headers, flows, ipv4, next_hops, options,
    packet::{ETH_P_IP, Packet, Step, now},
    storm::is_ack_storm,
    tcp_header::TcpHeader,
    upcall,
};

/// Backend tuples that the daemon has sent a SYN to; the value is when.
#[map]
static EXPECTED: HashMap<BackendKey, u64> = HashMap::pinned(1 << 16, BPF_F_NO_PREALLOC);

/// Where the TCP options stand, and the checksum.
const OPTIONS: usize = IPV6_LEN + tcp::HEADER_LEN;
const CHECKSUM: usize = IPV6_LEN + tcp::CHECKSUM_OFFSET;
/// Where [`Quoted`] begins in an ICMPv6 error: at the next header of the packet that it quotes.
const QUOTED: u32 = IPV6_LEN as u32 + 8 + 6;
/// What [`whose_error`] says of an error about nothing that is known here. No client has an address below 1.0.0.0.
const NOBODY: u32 = 0;
/// Set in its numbers for SYNs: the last octet of a /24 is free.
const OF_A_SYN: u32 = 1;
/// What the network header gains, in octets: it shrinks.
const GROWTH: i32 = -(TRANSLATION_GROWTH as i32);
/// An IPv4 packet of at most this many octets may be fragmented on its way (RFC 7915 §5.1).
const MAY_FRAGMENT: u32 = 1260;

/// A TCP segment over IPv6 whose headers have been read and found whole.
#[derive(Clone, Copy)]
struct Segment<'a> {
    ip: &'a Ipv6Hdr,
    tcp: &'a TcpHdr,
    flags: Flags,
    /// Length of the packet by its own header, in octets.
    len: u32,
    /// Octets of headers up to the payload.
    headers: u32,
}

impl Segment<'_> {
    /// Length of the packet over IPv4, in octets.
    #[inline(always)]
    fn v4_len(&self) -> u32 {
        self.len - TRANSLATION_GROWTH
    }
}

/// What says whose a quoted packet is: its IPv6 header from the seventh octet on, and the ports.
#[repr(C)]
struct Quoted {
    next_hdr: u8,
    hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
    ports: [[u8; 2]; 2],
}

/// From a tunnel, from a source that belongs there, to the NAT46 prefix.
#[inline(always)]
pub fn from_backend<const L2: usize>(packet: &Packet<L2>, ip: &mut Ipv6Hdr) -> Step<Verdict> {
    if ip.next_hdr != TCP && !extension_headers::strip(packet, ip)? {
        return icmp_error(packet, ip);
    }
    let tcp = packet.read::<TcpHdr>(IPV6_LEN).ok_or(Verdict::Drop(DropReason::Malformed))?;
    let len = IPV6_LEN as u32 + u16::from_be_bytes(ip.payload_len) as u32;
    let headers = (OPTIONS + tcp.options_len()) as u32;
    if tcp.is_short() || len < headers || len > packet.len() {
        return Err(Verdict::Drop(DropReason::Malformed));
    }
    if len < packet.len() {
        packet.resize(len)?;
    }
    let key = BackendKey::new(ip.src_addr, tcp.source, ip.dst_addr, tcp.dest);
    let flags = tcp.flags();
    match flows::from_backend(&key) {
        Some(flow) => established(packet, &Segment { ip, tcp: &tcp, flags, len, headers }, flow),
        None => Ok(without_flow(packet, &key, flags)),
    }
}

/// A packet to the NAT46 prefix that is not TCP: an ICMPv6 error about a packet of ours goes to the daemon, anything
/// else is dropped.
#[inline(always)]
pub fn icmp_error<const L2: usize>(packet: &Packet<L2>, ip: &Ipv6Hdr) -> Step<Verdict> {
    let kind = *packet.read::<u8>(IPV6_LEN).ok_or(Verdict::Drop(DropReason::Malformed))?;
    if ip.next_hdr != ICMPV6 || kind >= v6::FIRST_INFORMATIONAL {
        return Err(Verdict::Drop(DropReason::Untranslatable));
    }
    let whose = whose_error(packet.skb(), L2 as u32);
    if whose == NOBODY {
        return Err(Verdict::Drop(DropReason::NoFlowFromSite));
    }
    Ok(upcall::hand_up_error(packet, Upcall::Icmp6Error, whose))
}

/// Whose packet an ICMPv6 error quotes: of a flow, its client's neighbourhood; of a SYN that is on its way, a number
/// made of the client's NAT46 address.
///
/// Not inlined: the headers that it reads need stack. Nor is there a buffer of zeros, for which the compiler would call a
/// function: with its frame Linux 5.10 counts more than 512 octets.
#[inline(never)]
fn whose_error(skb: *mut __sk_buff, l2: u32) -> u32 {
    let mut quoted = MaybeUninit::<Quoted>::uninit();
    let len = size_of::<Quoted>() as u32;
    // SAFETY: as many octets are read as there is room for, and all of a `Quoted` is octets.
    let quoted = unsafe {
        if bpf_skb_load_bytes(skb.cast(), l2 + QUOTED, quoted.as_mut_ptr().cast(), len) != 0 {
            return NOBODY;
        }
        quoted.assume_init_ref()
    };
    if quoted.next_hdr != TCP {
        return NOBODY;
    }
    let Quoted { source, destination, ports: [from, to], .. } = quoted;
    let key = BackendKey::new(*destination, *to, *source, *from);
    if let Some(flow) = flows::from_backend(&key) {
        return upcall::neighbourhood(flow.client);
    }
    // SAFETY: the value is not looked at.
    if unsafe { EXPECTED.get(&key) }.is_none() {
        return NOBODY;
    }
    Sum(0).add16(&key.source).fold() as u32 | OF_A_SYN
}

/// A segment of a flow. The same steps, in the same order, as in `to_backend`.
#[inline(always)]
fn established<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    flow: &mut ToClient,
) -> Step<Verdict> {
    let uplink = devices::uplink().ok_or(Verdict::Drop(DropReason::SiteDown))?;
    admit_size(packet, segment, uplink, flow.client)?;
    report_acknowledged(packet, segment, flow);
    let old = segment.tcp.fields();
    admit_ack(segment, flow, &old)?;

    // The window of a SYN-ACK is never scaled (RFC 7323 §2.2).
    let (from, to) = if segment.flags.contains(Flags::SYN) {
        (0, 0)
    } else {
        (flow.backend_scale, flow.promised_scale)
    };
    let new = old.to_client(flow.delta, from, to);
    let shift = OptionShift::to_client(flow.ts_delta, flow.timestamps != 0);
    let moved = options::shift(packet, OPTIONS, segment.tcp.options_len(), &shift)?;
    let header = packet.at::<TcpHdr>(IPV6_LEN).ok_or(Verdict::Drop(DropReason::Malformed))?;
    // SAFETY: `at` has checked the whole header.
    unsafe {
        (*header).seq = new.seq;
        (*header).window = new.window;
    }
    packet.change_checksum(CHECKSUM, new.change_from(old).plus(moved))?;
    packet.change_pseudo_checksum(CHECKSUM, Sum(flow.address_change as u32))?;

    rewrite_ip(packet, segment, flow)?;
    account(packet, segment, flow);
    let next_hop = next_hops::to_client(uplink, &flow.client);
    Ok(Verdict::Forward(devices::through(uplink, next_hop)))
}

/// Refuses a packet whose hop limit is used up, or which is too big for the uplink.
#[inline(always)]
fn admit_size<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    uplink: &Device,
    client: [u8; 4],
) -> Step<()> {
    if segment.ip.hop_limit <= 1 {
        return Err(upcall::report(packet, Upcall::HopLimit, client, DropReason::HopLimit));
    }
    if !packet.fits(uplink.mtu, segment.len, segment.headers, GROWTH) {
        return Err(upcall::report(packet, Upcall::TooBig, client, DropReason::TooBig));
    }
    Ok(())
}

/// Tells the daemon that the backend has what the daemon owed it. A full ring keeps the watch on, and the
/// next acknowledgment tries again.
#[inline(always)]
fn report_acknowledged<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    flow: &mut ToClient,
) {
    if flow.watching == 0
        || !segment.flags.contains(Flags::ACK)
        || !flow.is_watched_covered_by(segment.tcp.ack_seq)
    {
        return;
    }
    match upcall::hand_up(packet, Upcall::Acknowledged) {
        Verdict::Upcall => flow.watching = 0,
        Verdict::Kernel
        | Verdict::Forward(_)
        | Verdict::Reflect
        | Verdict::Absorb
        | Verdict::Drop(_) => {}
    }
}

/// Drops an acknowledgment that is part of a storm.
#[inline(always)]
fn admit_ack(segment: &Segment, flow: &ToClient, fields: &Fields) -> Step<()> {
    let Segment { tcp, flags, len, headers, .. } = *segment;
    if storm::is_bare(flags, len - headers, tcp.options_len(), flow.timestamps != 0)
        && is_ack_storm(storm::slot(flow.client, tcp.dest, tcp.source), End::Backend, fields)
    {
        return Err(Verdict::Drop(DropReason::AckStorm));
    }
    Ok(())
}

/// An IPv4 header in place of the IPv6 one.
#[inline(always)]
fn rewrite_ip<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    flow: &ToClient,
) -> Step<()> {
    let largest = packet.largest(segment.len, segment.headers) - TRANSLATION_GROWTH;
    let header = ip_header(segment.ip, flow, segment.v4_len(), largest);
    packet.change_protocol(ETH_P_IP)?;
    packet.write(0, &header)?;
    // The helper took the octets that are no more out of the packet's sum: the first twenty of the IPv6
    // header. The others have given way to an IPv4 header, which sums up to zero.
    let [.., a, b, c, d] = segment.ip.src_addr;
    let gone = Sum(0).add4([a, b, c, d]).add16(&segment.ip.dst_addr);
    packet.add_to_packet_sum(Sum(!gone.fold() as u32));
    Ok(())
}

#[inline(always)]
fn account<const L2: usize>(packet: &Packet<L2>, segment: &Segment, flow: &mut ToClient) {
    flow.last_seen = now();
    flow.closing = closing_after(flow.closing, segment.flags);
    let segments = packet.segments(segment.len, segment.headers);
    flows::add(&mut flow.packets, segments);
    flows::add(&mut flow.bytes, segment.v4_len() as u64);
    count::traffic(Traffic::Nat46Out, segments, segment.v4_len() as u64);
}

/// A segment without a flow: of a handshake in the daemon's hands, or of nothing that is known.
#[inline(always)]
fn without_flow<const L2: usize>(packet: &Packet<L2>, key: &BackendKey, flags: Flags) -> Verdict {
    // SAFETY: the value is not looked at.
    if unsafe { EXPECTED.get(key) }.is_some() {
        return upcall::hand_up(packet, Upcall::Backend);
    }
    if flags.contains(Flags::RST) {
        return Verdict::Drop(DropReason::StrayReset);
    }
    upcall::ask_answer(packet, Upcall::ResetBackend, DropReason::NoFlowFromSite)
}

/// RFC 7915 §5.1. A small packet may be fragmented by IPv4 routers and then needs an identification; who cuts a
/// batch up counts on from it.
#[inline(always)]
fn ip_header(ip: &Ipv6Hdr, flow: &ToClient, len: u32, largest: u32) -> Ipv4Hdr {
    let (id, frags) = if largest <= MAY_FRAGMENT {
        // SAFETY: takes no argument.
        ((unsafe { bpf_get_prandom_u32() } as u16).to_ne_bytes(), [0, 0])
    } else {
        ([0, 0], [0x40, 0])
    };
    ipv4::sealed(Ipv4Hdr {
        vihl: 0x45,
        tos: ip.vcf[0] << 4 | ip.vcf[1] >> 4,
        tot_len: (len as u16).to_be_bytes(),
        id,
        frags,
        ttl: ip.hop_limit - 1,
        proto: TCP,
        check: [0; 2],
        src_addr: flow.listen,
        dst_addr: flow.client,
    })
}
