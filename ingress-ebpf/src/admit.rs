//! Segments to a listed port that belong to no flow: SYNs, answers to cookies, and strangers. None of them
//! may reach the host's own TCP, which would answer with a reset.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap},
};
use ingress_common::{
    cookie,
    maps::{ClientKey, CookieKeys, Debt, Listener, ListenerKey, MAX_LISTENERS, ToBackend},
    tcp::{Flags, Seq},
    upcall::Upcall,
    verdict::{Cookie, DropReason, Verdict},
};
use network_types::ip::Ipv4Hdr;

use crate::{
    count, heartbeat,
    packet::{Packet, Step, now},
    policy,
    segment::Segment,
    synack, upcall,
};

#[map]
static LISTENERS: HashMap<ListenerKey, Listener> =
    HashMap::pinned(MAX_LISTENERS, BPF_F_NO_PREALLOC);
/// Client tuples in the daemon's hands; the value is when that began.
#[map]
static PENDING: HashMap<ClientKey, u64> = HashMap::pinned(1 << 16, BPF_F_NO_PREALLOC);
/// What the daemon has acknowledged to clients and not delivered; no program reads it, a restarted daemon does.
#[map]
static DEBTS: HashMap<ClientKey, Debt> = HashMap::pinned(2048, BPF_F_NO_PREALLOC);
#[map]
static SECRETS: Array<CookieKeys> = Array::pinned(1, 0);

/// A segment on a tuple without a flow.
#[inline(always)]
pub fn without_flow<const L2: usize>(packet: &Packet<L2>, segment: &Segment) -> Step<Verdict> {
    let listener = listener(&segment.key).ok_or(Verdict::Kernel)?;
    admit(packet, segment, listener, None)
}

/// A segment of a later connection on the tuple of `flow`, whose port may no longer be listed.
#[inline(always)]
pub fn opens_anew<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    flow: &mut ToBackend,
) -> Step<Verdict> {
    let listener = listener(&segment.key).ok_or(Verdict::Drop(DropReason::NoFlow))?;
    admit(packet, segment, listener, Some(flow))
}

/// A packet that ends here if its port is listed, and is the kernel's otherwise.
#[inline(always)]
pub fn refuse_listed(key: &ClientKey, reason: DropReason) -> Verdict {
    match listener(key) {
        Some(_) => Verdict::Drop(reason),
        None => Verdict::Kernel,
    }
}

/// [`refuse_listed`] for a packet of which only the ports are to be read: TCP behind IPv4 options (RFC 7915
/// would have them ignored, but nobody sends them over the Internet), or a piece of a header.
#[inline(always)]
pub fn refuse_by_ports<const L2: usize>(
    packet: &Packet<L2>,
    ip: &Ipv4Hdr,
    reason: DropReason,
) -> Verdict {
    let header_len = (ip.vihl & 0xf) as usize * 4;
    let mut ports = [0u8; 4];
    if !packet.load(header_len, &mut ports) {
        return Verdict::Kernel;
    }
    let [a, b, c, d] = ports;
    let key = ClientKey::new(ip.src_addr, [a, b], ip.dst_addr, [c, d]);
    refuse_listed(&key, reason)
}

#[inline(always)]
fn admit<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    listener: &Listener,
    flow: Option<&mut ToBackend>,
) -> Step<Verdict> {
    segment.trim(packet)?;
    let flags = segment.flags;
    let acknowledged = if flow.is_some() { Cookie::Reopened } else { Cookie::Acknowledged };
    // SAFETY: the value is not looked at.
    if !flags.contains(Flags::SYN) && unsafe { PENDING.get(&segment.key) }.is_some() {
        return Err(upcall::hand_up_client(packet, segment.key.client));
    }
    // Lists of clients end no handshake that has begun.
    if !policy::client_may(segment.key.client) {
        return Err(Verdict::Drop(DropReason::ClientDenied));
    }
    if flags.contains(Flags::SYN) {
        return answer_syn(packet, segment, listener, flow);
    }
    if flags.contains(Flags::RST) {
        return Err(Verdict::Drop(DropReason::StrayReset));
    }
    if !flags.contains(Flags::ACK) {
        return Err(Verdict::Drop(DropReason::Malformed));
    }
    let keys = SECRETS.get(0).ok_or(Verdict::Drop(DropReason::DaemonAway))?;
    let seq = Seq(u32::from_be_bytes(segment.tcp.seq));
    let answered = Seq(u32::from_be_bytes(segment.tcp.ack_seq)).minus(1);
    let Some(admitted) = cookie::check(keys, now(), &segment.key, seq, answered) else {
        count::cookie(Cookie::Rejected);
        return Err(upcall::ask_answer(packet, Upcall::ResetClient, DropReason::NoFlow));
    };
    if segment.payload > 0 {
        count::cookie(Cookie::Accepted);
        Ok(upcall::hand_up_client(packet, segment.key.client))
    } else if flags.contains(Flags::FIN) && admitted.client_isn.is_some() {
        // The client connected and left without a word: there is no connection here that could answer the FIN.
        Ok(upcall::ask_answer(packet, Upcall::ResetClient, DropReason::NoFlow))
    } else {
        // A FIN behind data follows on the heels of a hello that the daemon is about to take up, and will be
        // repeated.
        count::cookie(acknowledged);
        Ok(Verdict::Absorb)
    }
}

#[inline(always)]
fn answer_syn<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    listener: &Listener,
    flow: Option<&mut ToBackend>,
) -> Step<Verdict> {
    if segment.flags.intersects(Flags::ACK.with(Flags::RST).with(Flags::FIN)) || segment.payload > 0
    {
        return Err(Verdict::Drop(DropReason::OddSyn));
    }
    let now = now();
    let keys = keys(now).ok_or(Verdict::Drop(DropReason::DaemonAway))?;
    let isn = synack::answer(packet, segment, listener, keys, now)?;
    if let Some(flow) = flow {
        flow.reopened = isn.0.to_be_bytes();
    }
    count::cookie(Cookie::Sent);
    Ok(Verdict::Reflect)
}

/// What cookies are made with, while there is a daemon that could take them up.
#[inline(always)]
pub fn keys(now: u64) -> Option<&'static CookieKeys> {
    if heartbeat::is_fresh(now) { SECRETS.get(0) } else { None }
}

/// What is listed on the key's port.
#[inline(always)]
pub fn listener(key: &ClientKey) -> Option<&'static Listener> {
    let key = ListenerKey { address: key.listen, port: key.listen_port, reserved: [0; 2] };
    // SAFETY: entries are replaced as a whole and freed after a grace period.
    unsafe { LISTENERS.get(&key) }
}
