//! Handing packets to the daemon through the ring buffer.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::bpf_skb_load_bytes,
    macros::map,
    maps::{Array, LruHashMap, RingBuf, ring_buf::RingBufEntry},
};
use ingress_common::{
    maps::Bucket,
    rate::Rate,
    upcall::{Header, LARGE, SMALL, Upcall},
    verdict::{DropReason, Verdict},
    verifier::opaque,
};

use crate::packet::{Packet, now};

#[map]
static UPCALLS: RingBuf = RingBuf::pinned(8 << 20, 0);
#[map]
static ANSWERS: Array<Bucket> = Array::pinned(1, 0);
/// The bucket for packets of flows, apart from `ANSWERS`: strangers cannot use it up, and so break a flow's path MTU
/// discovery.
#[map]
static REPORTS: Array<Bucket> = Array::pinned(1, 0);
/// Each neighbourhood's share of `REPORTS`, so that clients with a flow of their own cannot use it up either.
#[map]
static REPORTERS: LruHashMap<u32, Bucket> = LruHashMap::pinned(1 << 14, 0);
/// A bucket for each neighbourhood (/24) of clients, so that one cannot fill the ring for all.
#[map]
static NEIGHBOURS: LruHashMap<u32, Bucket> = LruHashMap::pinned(1 << 14, 0);

/// How many tokens of a neighbourhood a large record costs; a small one costs one.
const LARGE_COST: u64 = (LARGE / SMALL) as u64;
/// What strangers can make the daemon answer: 1000 a second, 200 at once; and as much again for flows.
const ANSWER_RATE: Rate = Rate { nanos_each: 1_000_000_000 / 1000, burst: 200 };
/// What of that is one neighbourhood's: 100 a second, 50 at once.
const REPORTS_PER_NEIGHBOUR: Rate = Rate { nanos_each: 1_000_000_000 / 100, burst: 50 };
/// What one neighbourhood of clients can hand up, where a large record counts as several: fewer segments than a busy
/// daemon gets through, and the ring holds four such bursts.
const PER_NEIGHBOUR: Rate = Rate { nanos_each: 1_000_000_000 / 4000, burst: 1024 };

/// The shortest packet that is handed up, in octets: an IPv4 header without anything behind it.
const SHORTEST: u64 = 20;

#[repr(C)]
struct Record<const ROOM: usize> {
    header: Header,
    packet: [u8; ROOM],
}

/// Hands up the packet from its network header on.
#[inline(always)]
pub fn hand_up<const L2: usize>(packet: &Packet<L2>, kind: Upcall) -> Verdict {
    if record(packet.skb(), L2 as u32, kind as u32) {
        Verdict::Upcall
    } else {
        Verdict::Drop(DropReason::UpcallOverflow)
    }
}

/// Hands up a packet if it was granted a token.
#[inline(always)]
fn hand_up_if<const L2: usize>(granted: bool, packet: &Packet<L2>, kind: Upcall) -> Verdict {
    if granted { hand_up(packet, kind) } else { Verdict::Drop(DropReason::RateLimited) }
}

/// Hands up a segment of a client whose handshake is not finished, as far as its neighbours leave room.
#[inline(always)]
pub fn hand_up_client<const L2: usize>(packet: &Packet<L2>, client: [u8; 4]) -> Verdict {
    let cost = if packet.len() as usize <= SMALL { 1 } else { LARGE_COST };
    hand_up_if(take_neighbours_tokens(neighbourhood(client), cost), packet, Upcall::Client)
}

/// Hands up an ICMP error about a flow of the given neighbourhood, as far as the rate limits of flows go.
#[inline(always)]
pub fn hand_up_error<const L2: usize>(packet: &Packet<L2>, kind: Upcall, whose: u32) -> Verdict {
    hand_up_if(take_flows_token(whose), packet, kind)
}

/// Hands up a packet that ends here but deserves an answer, as far as the rate limit goes.
#[inline(always)]
pub fn ask_answer<const L2: usize>(
    packet: &Packet<L2>,
    kind: Upcall,
    reason: DropReason,
) -> Verdict {
    dropped_after(hand_up_if(take_token(), packet, kind), reason)
}

/// Hands up a packet of a client's flow that ends here but deserves an answer, as far as the rate limits of flows go.
#[inline(always)]
pub fn report<const L2: usize>(
    packet: &Packet<L2>,
    kind: Upcall,
    client: [u8; 4],
    reason: DropReason,
) -> Verdict {
    dropped_after(hand_up_if(take_flows_token(neighbourhood(client)), packet, kind), reason)
}

/// The clients that share their limits with this one: its /24.
#[inline(always)]
pub fn neighbourhood([a, b, c, _]: [u8; 4]) -> u32 {
    u32::from_be_bytes([a, b, c, 0])
}

/// The verdict on a packet of which a copy was to be handed up: dropped for the reason given, or because it was not.
#[inline(always)]
fn dropped_after(handed: Verdict, reason: DropReason) -> Verdict {
    match handed {
        Verdict::Upcall => Verdict::Drop(reason),
        other => other,
    }
}

/// Not inlined: many ways lead here.
#[inline(never)]
fn record(skb: *mut __sk_buff, l2: u32, kind: u32) -> bool {
    // SAFETY: a program's context is valid as long as it runs.
    let (len, ifindex) = unsafe { ((*skb).len - l2, (*skb).ifindex) };
    let header = Header { kind, ifindex, len, captured: 0 };
    if len as usize <= SMALL {
        fill(skb, l2, header, UPCALLS.reserve::<Record<SMALL>>(0))
    } else {
        fill(skb, l2, header, UPCALLS.reserve::<Record<LARGE>>(0))
    }
}

#[inline(always)]
fn fill<const ROOM: usize>(
    skb: *mut __sk_buff,
    l2: u32,
    header: Header,
    entry: Option<RingBufEntry<Record<ROOM>>>,
) -> bool {
    let Some(mut entry) = entry else { return false };
    let record = entry.as_mut_ptr();
    let captured = if header.len as usize > ROOM { ROOM as u32 } else { header.len };
    // SAFETY: `record` is a whole reserved `Record`; `captured` is at most its room.
    let failed = unsafe {
        (*record).header = Header { captured, ..header };
        // Two separate bounds on one register, each of which the verifier must see.
        let len = opaque(captured as u64);
        if len < SHORTEST {
            -1
        } else {
            let len = opaque(len);
            if len > ROOM as u64 {
                -1
            } else {
                let room = core::ptr::addr_of_mut!((*record).packet).cast();
                bpf_skb_load_bytes(skb.cast(), l2, room, len as u32)
            }
        }
    };
    if failed == 0 {
        entry.submit(0);
    } else {
        entry.discard(0);
    }
    failed == 0
}

/// A token for an answer to a stranger.
#[inline(never)]
fn take_token() -> bool {
    let Some(bucket) = ANSWERS.get_ptr_mut(0) else { return false };
    // SAFETY: the pointer is into an array map; races are harmless, as `Rate::take` says.
    ANSWER_RATE.take(unsafe { &mut *bucket }, 1, now())
}

/// A token for something about a flow: of its neighbourhood's share, and of the share of all flows.
#[inline(never)]
pub fn take_flows_token(whose: u32) -> bool {
    if !take_share(&REPORTERS, whose, &REPORTS_PER_NEIGHBOUR, 1) {
        return false;
    }
    let Some(bucket) = REPORTS.get_ptr_mut(0) else { return false };
    // SAFETY: as in `take_token`.
    ANSWER_RATE.take(unsafe { &mut *bucket }, 1, now())
}

#[inline(never)]
fn take_neighbours_tokens(whose: u32, cost: u64) -> bool {
    take_share(&NEIGHBOURS, whose, &PER_NEIGHBOUR, cost)
}

#[inline(always)]
fn take_share(shares: &LruHashMap<u32, Bucket>, whose: u32, rate: &Rate, cost: u64) -> bool {
    if let Some(bucket) = shares.get_ptr_mut(&whose) {
        // SAFETY: the pointer is into a map's value, which stays valid while the program runs.
        return rate.take(unsafe { &mut *bucket }, cost, now());
    }
    let bucket = Bucket { filled: now(), tokens: rate.burst - cost };
    shares.insert(&whose, &bucket, 0).is_ok()
}
