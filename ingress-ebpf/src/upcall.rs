//! Handing packets to the daemon through the ring buffer.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::bpf_skb_load_bytes,
    macros::map,
    maps::{Array, LruHashMap, RingBuf, ring_buf::RingBufEntry},
};
use ingress_common::{
    maps::Bucket,
    upcall::{Header, LARGE, SMALL, Upcall},
    verdict::{DropReason, Verdict},
    verifier::opaque,
};

use crate::packet::{Packet, now};

#[map]
static UPCALLS: RingBuf = RingBuf::pinned(8 << 20, 0);
#[map]
static ANSWERS: Array<Bucket> = Array::pinned(1, 0);
/// By neighbourhood (/24) of clients, so that one cannot fill the ring for all.
#[map]
static NEIGHBOURS: LruHashMap<u32, Bucket> = LruHashMap::pinned(1 << 14, 0);

/// Answers a second that strangers can make the daemon send, and how many at once.
const ANSWER_RATE: Rate = Rate { nanos_each: 1_000_000_000 / 1000, burst: 200 };
/// Segments that one neighbourhood of clients can hand up: fewer than a busy daemon gets through, and the ring
/// holds four such bursts.
const PER_NEIGHBOUR: Rate = Rate { nanos_each: 1_000_000_000 / 4000, burst: 1024 };

/// An IPv4 header without anything behind it.
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

/// Hands up a segment of a client whose handshake is not finished, as far as its neighbours leave room.
#[inline(always)]
pub fn hand_up_client<const L2: usize>(packet: &Packet<L2>, client: [u8; 4]) -> Verdict {
    if take_neighbours_token(client) {
        hand_up(packet, Upcall::Client)
    } else {
        Verdict::Drop(DropReason::RateLimited)
    }
}

/// Hands up a packet that ends here but deserves an answer, as far as the rate limit goes.
#[inline(always)]
pub fn ask_answer<const L2: usize>(
    packet: &Packet<L2>,
    kind: Upcall,
    reason: DropReason,
) -> Verdict {
    if !take_token() {
        return Verdict::Drop(DropReason::RateLimited);
    }
    match hand_up(packet, kind) {
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

/// How fast a bucket fills, and how much it holds.
struct Rate {
    nanos_each: u64,
    burst: u64,
}

impl Rate {
    /// Two CPUs may take the same token; a limit of this kind can bear it.
    #[inline(always)]
    fn take(&self, bucket: &mut Bucket) -> bool {
        let now = now();
        let earned = now.wrapping_sub(bucket.filled) / self.nanos_each;
        if earned > 0 {
            let tokens = bucket.tokens + earned;
            let full = tokens > self.burst || earned > self.burst;
            bucket.tokens = if full { self.burst } else { tokens };
            bucket.filled = now;
        }
        if bucket.tokens == 0 {
            return false;
        }
        bucket.tokens -= 1;
        true
    }
}

#[inline(never)]
pub fn take_token() -> bool {
    let Some(bucket) = ANSWERS.get_ptr_mut(0) else { return false };
    // SAFETY: the pointer is into an array map; races are harmless, as said above.
    ANSWER_RATE.take(unsafe { &mut *bucket })
}

#[inline(never)]
fn take_neighbours_token([a, b, c, _]: [u8; 4]) -> bool {
    let neighbourhood = u32::from_be_bytes([a, b, c, 0]);
    if let Some(bucket) = NEIGHBOURS.get_ptr_mut(&neighbourhood) {
        // SAFETY: the pointer is into a map's value, which stays valid while the program runs.
        return PER_NEIGHBOUR.take(unsafe { &mut *bucket });
    }
    let bucket = Bucket { filled: now(), tokens: PER_NEIGHBOUR.burst - 1 };
    NEIGHBOURS.insert(&neighbourhood, &bucket, 0).is_ok()
}
