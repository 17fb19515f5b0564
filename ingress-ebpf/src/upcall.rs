//! Handing packets to the daemon through the ring buffer.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::bpf_skb_load_bytes,
    macros::map,
    maps::{Array, RingBuf, ring_buf::RingBufEntry},
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

/// Answers a second that strangers can make the daemon send, and how many at once.
const ANSWERS_PER_SECOND: u64 = 1000;
const BURST: u64 = 200;
const NANOS_PER_ANSWER: u64 = 1_000_000_000 / ANSWERS_PER_SECOND;

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

/// Two CPUs may take the same token; a limit of this kind can bear it.
#[inline(never)]
pub fn take_token() -> bool {
    let Some(bucket) = ANSWERS.get_ptr_mut(0) else { return false };
    // SAFETY: the pointer is into an array map; races are harmless, as said above.
    let bucket = unsafe { &mut *bucket };
    let now = now();
    let earned = now.wrapping_sub(bucket.filled) / NANOS_PER_ANSWER;
    if earned > 0 {
        let tokens = bucket.tokens + earned;
        bucket.tokens = if tokens > BURST || earned > BURST { BURST } else { tokens };
        bucket.filled = now;
    }
    if bucket.tokens == 0 {
        return false;
    }
    bucket.tokens -= 1;
    true
}
