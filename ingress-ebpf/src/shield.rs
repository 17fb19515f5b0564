//! SYNs to listed ports answered at XDP, before the kernel spends anything on them: for floods.
//!
//! Only the plain case ends here. Whatever is unusual goes on to the programs at tc, which know all of it;
//! so does the SYN of a tuple that has a flow, in which the cookie must be noted.
//!
//! The answer has the length of the SYN, its option area filled up with end-of-list: resizing a frame here
//! is what virtual NICs get wrong. An answer never needs more options than were offered, but an MSS.

use aya_ebpf::programs::XdpContext;
use ingress_common::{
    checksum::pseudo_v4,
    ip::{IPV4_LEN, TCP},
    maps::ClientKey,
    tcp::{self, Flags, MAX_OPTIONS_LEN, OPTION_BUFFER_LEN, Seq},
    verdict::{Cookie, DropReason, Verdict},
    verifier::{forget, opaque},
};
use network_types::{eth::EthHdr, ip::Ipv4Hdr, tcp::TcpHdr};

use crate::{
    admit, count, flows, option_buffer,
    packet::{ETH_P_IP, ETHERNET, Step, now},
    policy,
    synack::{self, Answer, Front, Header, Syn},
    tcp_header::TcpHeader,
};

const TCP_OFFSET: usize = ETHERNET + IPV4_LEN;
const OPTIONS: usize = TCP_OFFSET + tcp::HEADER_LEN;
/// The one bit beside the fragment offset that does not matter.
const DONT_FRAGMENT: u8 = 0x40;

/// The bits that a length of options, in octets, can have.
const OPTIONS_LEN_MASK: u64 = 0x3c;
/// The flags by which a plain SYN is known; those of ECN do not matter.
const SYN_MASK: Flags = Flags::SYN.with(Flags::ACK).with(Flags::RST).with(Flags::FIN);

/// From the uplink.
#[inline(always)]
pub fn from_world(ctx: &XdpContext) -> Step<Verdict> {
    let eth = header::<EthHdr>(ctx, 0)?;
    let ip = header::<Ipv4Hdr>(ctx, ETHERNET)?;
    let tcp = header::<TcpHdr>(ctx, TCP_OFFSET)?;
    let options = tcp.options_len();
    let [fragment, rest] = ip.frags;
    let plain = eth.ether_type == ETH_P_IP.to_be()
        && ip.vihl == 0x45
        && ip.proto == TCP
        && fragment & !DONT_FRAGMENT == 0
        && rest == 0
        && tcp.flags().0 & SYN_MASK.0 == Flags::SYN.0
        && !tcp.is_short()
        && u16::from_be_bytes(ip.tot_len) as usize == length(options);
    if !plain {
        return Err(Verdict::Kernel);
    }
    let key = ClientKey::new(ip.src_addr, tcp.source, ip.dst_addr, tcp.dest);
    let listener = admit::listener(&key).ok_or(Verdict::Kernel)?;
    if flows::from_client(&key).is_some() {
        return Err(Verdict::Kernel);
    }
    if !policy::client_may(key.client) {
        return Err(Verdict::Drop(DropReason::ClientDenied));
    }
    let now = now();
    let keys = admit::keys(now).ok_or(Verdict::Kernel)?;
    let area = option_buffer::zeroed().ok_or(Verdict::Kernel)?;
    read_options(ctx, options, area)?;
    // However many words were read, what follows is checked once.
    let options = opaque(forget(options as u64, now) & OPTIONS_LEN_MASK) as usize;
    let syn = Syn { key, isn: Seq(u32::from_be_bytes(tcp.seq)), options };
    let answer = Answer::to(&syn, listener, keys, now, area);
    *area = [0; OPTION_BUFFER_LEN];
    if answer.options.emit(answer.stamps, area) > options {
        return Err(Verdict::Kernel);
    }

    let new = Header::of_answer(&syn, answer.isn, listener, options);
    let len = length(options) as u16;
    let sum = pseudo_v4(key.listen, key.client, TCP, len - IPV4_LEN as u16);
    let check = sum.plus(new.sum()).plus(synack::sum(area)).checksum();
    (eth.src_addr, eth.dst_addr) = (eth.dst_addr, eth.src_addr);
    *ip = synack::ip_header(&key, len);
    // SAFETY: the front of a TCP header is its first sixteen octets.
    unsafe { *core::ptr::from_mut(tcp).cast::<Front>() = new.front };
    (tcp.check, tcp.urg_ptr) = (check, new.urgent);
    write_options(ctx, options, area)?;
    count::cookie(Cookie::Sent);
    Ok(Verdict::Reflect)
}

/// Length of a packet without payload.
#[inline(always)]
const fn length(options: usize) -> usize {
    OPTIONS - ETHERNET + options
}

/// A header at an offset into the frame, in place.
#[inline(always)]
fn header<T>(ctx: &XdpContext, offset: usize) -> Step<&'static mut T> {
    // SAFETY: `within` has checked that all of it lies in the frame, where every pattern of bits is a header,
    // and no two are taken at overlapping offsets.
    within(ctx, offset, size_of::<T>()).map(|at| unsafe { &mut *(at as *mut T) })
}

/// The address of `len` octets of the frame.
#[inline(always)]
fn within(ctx: &XdpContext, offset: usize, len: usize) -> Step<usize> {
    let at = ctx.data() + offset;
    if at + len > ctx.data_end() { Err(Verdict::Kernel) } else { Ok(at) }
}

#[inline(always)]
fn read_options(ctx: &XdpContext, len: usize, area: &mut [u8; OPTION_BUFFER_LEN]) -> Step<()> {
    *area = [0; OPTION_BUFFER_LEN];
    let mut nth = 0;
    while nth < MAX_OPTIONS_LEN {
        if nth >= len {
            break;
        }
        let at = within(ctx, OPTIONS + nth, 4)?;
        // SAFETY: four octets that lie in the frame, into four of the buffer.
        unsafe { *area.as_mut_ptr().add(nth).cast::<[u8; 4]>() = *(at as *const [u8; 4]) };
        nth += 4;
    }
    Ok(())
}

#[inline(always)]
fn write_options(ctx: &XdpContext, len: usize, area: &[u8; OPTION_BUFFER_LEN]) -> Step<()> {
    let mut nth = 0;
    while nth < MAX_OPTIONS_LEN {
        if nth >= len {
            break;
        }
        let at = within(ctx, OPTIONS + nth, 4)?;
        // SAFETY: as in `read_options`, the other way.
        unsafe { *(at as *mut [u8; 4]) = *area.as_ptr().add(nth).cast::<[u8; 4]>() };
        nth += 4;
    }
    Ok(())
}
