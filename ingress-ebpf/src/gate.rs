//! Where the policy is applied: to what comes from outside, and to what goes out, whose answers shall come in.
//!
//! Packets are judged before any is left to the kernel, which would forward it.

use aya_ebpf::{
    macros::map,
    maps::{LruHashMap, PerCpuArray},
};
use ingress_common::{
    ip::ICMPV6,
    policy::{
        Approach, Connection, ConnectionKey, FragmentKey, Icmp, Judgement, Piece, Settings,
        UpperLayer, client_may, judge, may_have_begun_before,
    },
    verdict::{DropReason, Verdict},
};
use network_types::ip::Ipv6Hdr;

use crate::{
    packet::{Packet, Step, now},
    policy::{self, InForce},
    upper_layer,
};

/// Connections made from inside. Only what the inside sends makes an entry, and only where no rule would let the
/// answer in: who floods an open port displaces nobody here.
#[map]
static CONNECTIONS: LruHashMap<ConnectionKey, Connection> = LruHashMap::pinned(1 << 16, 0);
/// Packets from outside whose first fragment was let in; the value is when.
#[map]
static FRAGMENTS: LruHashMap<FragmentKey, u64> = LruHashMap::pinned(1 << 12, 0);

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Working memory; the stack has no room left for it.
struct Scratch {
    upper_layer: UpperLayer,
    connection: ConnectionKey,
    fragment: FragmentKey,
    time: u64,
}

/// How long a receiver waits for the other fragments, in nanoseconds (RFC 8200 §4.5).
const REASSEMBLY: u64 = 60_000_000_000;

/// Whether a packet from the world to a site may pass.
#[inline(always)]
pub fn check_inbound<const L2: usize>(packet: &Packet<L2>, ip: &Ipv6Hdr) -> Step<()> {
    let settings = policy::settings();
    if settings.is_open() {
        return Ok(());
    }
    let scratch = scratch().ok_or(Verdict::Drop(DropReason::PolicyClosed))?;
    // One after the other and not one within the other: the stacks of functions that call each other add up.
    let readable = upper_layer::read(packet.skb(), L2 as u32, ip, &mut scratch.upper_layer);
    match Judgement::from_number(judge_entry(ip, scratch, settings.0, readable)) {
        Judgement::Admitted => Ok(()),
        Judgement::ClientDenied => Err(Verdict::Drop(DropReason::ClientDenied)),
        Judgement::Closed => Err(Verdict::Drop(DropReason::PolicyClosed)),
    }
}

/// Remembers a packet from a site to the world, so that answers to it may come in.
#[inline(always)]
pub fn note_outbound<const L2: usize>(packet: &Packet<L2>, ip: &Ipv6Hdr) {
    let settings = policy::settings();
    if settings.is_open() {
        return;
    }
    let Some(scratch) = scratch() else { return };
    if upper_layer::read(packet.skb(), L2 as u32, ip, &mut scratch.upper_layer) {
        note_exit(ip, scratch, settings.0);
    }
}

/// A [`Judgement`] as its number: a function that is verified by itself returns one.
#[inline(never)]
fn judge_entry(ip: &Ipv6Hdr, scratch: &mut Scratch, settings: u64, readable: bool) -> u32 {
    judge_piece(ip, scratch, Settings(settings), readable) as u32
}

#[inline(always)]
fn judge_piece(
    ip: &Ipv6Hdr,
    scratch: &mut Scratch,
    settings: Settings,
    readable: bool,
) -> Judgement {
    if readable && scratch.upper_layer.piece == Piece::Later && first_was_admitted(ip, scratch) {
        return Judgement::Admitted;
    }
    if !readable || scratch.upper_layer.piece == Piece::Later {
        // Nobody can tell which service this is for.
        return if !client_may(settings, &InForce(settings.set()), &ip.src_addr) {
            Judgement::ClientDenied
        } else if settings.is_closed() {
            Judgement::Closed
        } else {
            Judgement::Admitted
        };
    }
    let judgement = judge_with_ports(ip, scratch, settings);
    if judgement == Judgement::Admitted && scratch.upper_layer.piece == Piece::First {
        note_fragment(ip, scratch);
    }
    judgement
}

#[inline(always)]
fn judge_with_ports(ip: &Ipv6Hdr, scratch: &mut Scratch, settings: Settings) -> Judgement {
    let rules = InForce(settings.set());
    let UpperLayer { protocol, flags, kind, ports: [outside_port, inside_port], .. } =
        scratch.upper_layer;
    if protocol == ICMPV6 {
        match Icmp::of(kind) {
            Icmp::Passes => return Judgement::Admitted,
            Icmp::Echo if client_may(settings, &rules, &ip.src_addr) => {
                return Judgement::Admitted;
            }
            Icmp::Echo => return Judgement::ClientDenied,
            Icmp::Other => {}
        }
    } else {
        let ends = (&ip.dst_addr, inside_port, &ip.src_addr, outside_port);
        let connection = connection(scratch, ends);
        if connection.is_some_and(|it| it.answers(protocol, flags, now())) {
            return Judgement::Admitted;
        }
    }
    let (outside, inside) = (&ip.src_addr, &ip.dst_addr);
    let approach = Approach { outside, inside, protocol, port: inside_port };
    let judgement = judge(settings, &rules, &approach);
    if judgement == Judgement::Admitted {
        return judgement;
    }
    let (changed, now) = policy::changed();
    if may_have_begun_before(protocol, flags, changed, now) {
        Judgement::Admitted
    } else {
        judgement
    }
}

/// What it returns says nothing; older verifiers want a number.
#[inline(never)]
fn note_exit(ip: &Ipv6Hdr, scratch: &mut Scratch, settings: u64) -> u32 {
    let settings = Settings(settings);
    let UpperLayer { protocol, flags, piece, ports: [inside_port, outside_port], .. } =
        scratch.upper_layer;
    if piece == Piece::Later || protocol == ICMPV6 {
        return 0;
    }
    let now = now();
    let ends = (&ip.src_addr, inside_port, &ip.dst_addr, outside_port);
    if connection(scratch, ends).is_some_and(|it| it.from_inside(protocol, flags, now)) {
        return 0;
    }
    let (outside, inside) = (&ip.dst_addr, &ip.src_addr);
    let approach = Approach { outside, inside, protocol, port: inside_port };
    if judge(settings, &InForce(settings.set()), &approach) == Judgement::Admitted {
        return 0;
    }
    if let Some(connection) = Connection::begin(protocol, flags, now) {
        let _ = CONNECTIONS.insert(&scratch.connection, &connection, 0);
    }
    0
}

#[inline(always)]
fn scratch() -> Option<&'static mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the slot belongs to this CPU, and no program is interrupted by another while it uses it.
    let scratch = unsafe { &mut *scratch };
    scratch.upper_layer = UpperLayer::default();
    Some(scratch)
}

/// The entry of a connection that the inside has made, by address and port inside, address and port outside.
#[inline(always)]
fn connection(
    scratch: &mut Scratch,
    (inside, inside_port, outside, outside_port): (&[u8; 16], [u8; 2], &[u8; 16], [u8; 2]),
) -> Option<&'static mut Connection> {
    scratch.connection = ConnectionKey {
        inside: *inside,
        outside: *outside,
        inside_port,
        outside_port,
        protocol: scratch.upper_layer.protocol,
        reserved: [0; 3],
    };
    // SAFETY: the pointer is into a map's value, which stays valid while the program runs. Two CPUs may write
    // the same marks, of which the next segment sets those that were lost.
    CONNECTIONS.get_ptr_mut(&scratch.connection).map(|connection| unsafe { &mut *connection })
}

/// Whether the packet's first fragment was let in.
#[inline(always)]
fn first_was_admitted(ip: &Ipv6Hdr, scratch: &mut Scratch) -> bool {
    set_fragment(ip, scratch);
    // SAFETY: the value is read at once.
    let since = unsafe { FRAGMENTS.get(&scratch.fragment) };
    since.is_some_and(|since| now().saturating_sub(*since) <= REASSEMBLY)
}

#[inline(always)]
fn note_fragment(ip: &Ipv6Hdr, scratch: &mut Scratch) {
    set_fragment(ip, scratch);
    scratch.time = now();
    let _ = FRAGMENTS.insert(&scratch.fragment, &scratch.time, 0);
}

#[inline(always)]
fn set_fragment(ip: &Ipv6Hdr, scratch: &mut Scratch) {
    scratch.fragment =
        FragmentKey { source: ip.src_addr, destination: ip.dst_addr, id: scratch.upper_layer.id };
}
