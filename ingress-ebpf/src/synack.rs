//! A SYN turned into our SYN-ACK, in place.
//!
//! Its checksum is changed, not computed: a packet from this very machine may carry one that the device has
//! yet to fill in, and a program cannot see which kind it holds.

use aya_ebpf::helpers::{bpf_csum_diff, bpf_skb_store_bytes};
use ingress_common::{
    checksum::Sum,
    cookie,
    ip::{IPV4_LEN, TCP},
    maps::{ClientKey, CookieKeys, Listener},
    tcp::{self, Flags, OPTION_BUFFER_LEN, Places, Seq, SynOptions, Timestamps},
    verdict::{DropReason, Verdict},
    verifier::forget,
};
use network_types::{eth::EthHdr, ip::Ipv4Hdr};

use crate::{
    ipv4, option_buffer,
    packet::{ETHERNET, Packet, Step, helper_result, load},
    segment::Segment,
    tcp_header::TcpHeader,
};

const OPTIONS: usize = IPV4_LEN + tcp::HEADER_LEN;
const CHECKSUM: usize = IPV4_LEN + tcp::CHECKSUM_OFFSET;
/// Linux' default for packets of its own.
const TTL: u8 = 64;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// What a SYN is answered with.
pub struct Answer {
    /// Our ISN: the cookie.
    pub isn: Seq,
    pub options: SynOptions,
    pub stamps: Option<Timestamps>,
}

impl Answer {
    /// The answer to a SYN whose option area is in `area`.
    #[inline(always)]
    pub fn to(
        syn: &Syn,
        listener: &Listener,
        keys: &CookieKeys,
        now: u64,
        area: &[u8; OPTION_BUFFER_LEN],
    ) -> Self {
        let places = Places::find::<{ Places::OF_SYN }>(area, syn.options);
        let stamps = places.read_timestamps(area).filter(|_| listener.offers_timestamps());
        // However many ways there are through the options, what follows is checked once.
        let offered = SynOptions::unpack(forget(places.syn_options(area).pack(), now));
        let taken_up = SynOptions {
            mss: offered.mss,
            window_scale: offered.window_scale,
            sack_permitted: offered.sack_permitted && listener.offers_sack(),
        };
        Self {
            isn: cookie::mint(keys, now, &syn.key, syn.isn, &taken_up),
            options: SynOptions {
                mss: Some(u16::from_be_bytes(listener.mss)),
                window_scale: taken_up.window_scale.map(|_| listener.scale),
                sack_permitted: taken_up.sack_permitted,
            },
            stamps: stamps.map(|theirs| Timestamps {
                value: cookie::timestamp(keys, now, &syn.key),
                echo: theirs.value,
            }),
        }
    }
}

/// What an answer needs to know of a SYN, besides the option area.
pub struct Syn {
    pub key: ClientKey,
    /// The client's ISN.
    pub isn: Seq,
    /// Octets of options.
    pub options: usize,
}

/// Rewrites the packet and returns our ISN.
#[inline(always)]
pub fn answer<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    listener: &Listener,
    keys: &CookieKeys,
    now: u64,
) -> Step<Seq> {
    let area = match packet.options(OPTIONS, segment.options) {
        Some(area) => area,
        None => option_buffer::zeroed().ok_or(Verdict::Drop(DropReason::KernelRefused))?,
    };
    let syn = Syn {
        key: segment.key,
        isn: Seq(u32::from_be_bytes(segment.tcp.seq)),
        options: segment.options,
    };
    let answer = Answer::to(&syn, listener, keys, now, area);

    let old_options = sum(area);
    *area = [0; OPTION_BUFFER_LEN];
    let options_len = answer.options.emit(answer.stamps, area);
    let old = Header::of(segment);
    let new = Header::of_answer(&syn, answer.isn, listener, options_len);
    let change = new.sum().plus(Sum(!old.sum().fold() as u32));
    let change = change.plus(sum(area)).plus(Sum(!old_options.fold() as u32));

    let len = (OPTIONS + options_len) as u16;
    packet.resize(len as u32)?;
    packet.write(IPV4_LEN, &new.front)?;
    packet.write(CHECKSUM + 2, &new.urgent)?;
    packet.write_options(OPTIONS, area, options_len)?;
    packet.change_checksum(CHECKSUM, change)?;
    let before = (segment.len as u16 - IPV4_LEN as u16).to_be_bytes();
    let after = (len - IPV4_LEN as u16).to_be_bytes();
    packet.change_pseudo_checksum(CHECKSUM, Sum(0).sub2(before).add2(after))?;
    packet.write(0, &ip_header(&syn.key, len))?;
    turn_around(packet)?;
    Ok(answer.isn)
}

/// The sum of an option area.
#[inline(always)]
pub fn sum(area: &[u8; OPTION_BUFFER_LEN]) -> Sum {
    // SAFETY: a fixed length inside a live object; the helper wants a mutable pointer but only reads.
    let sum = unsafe {
        bpf_csum_diff(
            core::ptr::null_mut(),
            0,
            area.as_ptr().cast_mut().cast(),
            tcp::MAX_OPTIONS_LEN as u32,
            0,
        )
    };
    Sum(sum as u32)
}

/// A TCP header, less the checksum, which is changed in place.
#[derive(Clone, Copy)]
pub struct Header {
    pub front: Front,
    pub urgent: [u8; 2],
}

/// The fields before the checksum.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Front {
    ports: [[u8; 2]; 2],
    seq: [u8; 4],
    ack: [u8; 4],
    offset: u8,
    flags: u8,
    window: [u8; 2],
}

impl Header {
    #[inline(always)]
    fn of(segment: &Segment) -> Self {
        let tcp = &segment.tcp;
        let front = Front {
            ports: [tcp.source, tcp.dest],
            seq: tcp.seq,
            ack: tcp.ack_seq,
            offset: tcp.offset_octet(),
            flags: segment.flags.0,
            window: tcp.window,
        };
        Self { front, urgent: tcp.urg_ptr }
    }

    /// The header of our SYN-ACK.
    #[inline(always)]
    pub fn of_answer(syn: &Syn, isn: Seq, listener: &Listener, options_len: usize) -> Self {
        let front = Front {
            ports: [syn.key.listen_port, syn.key.client_port],
            seq: isn.0.to_be_bytes(),
            ack: syn.isn.plus(1).0.to_be_bytes(),
            offset: ((tcp::HEADER_LEN + options_len) as u8) << 2,
            flags: Flags::SYN.with(Flags::ACK).0,
            window: listener.window,
        };
        Self { front, urgent: [0; 2] }
    }

    /// What the header adds to the checksum.
    #[inline(always)]
    pub fn sum(&self) -> Sum {
        let Front { ports: [from, to], seq, ack, offset, flags, window } = self.front;
        Sum(0)
            .add2(from)
            .add2(to)
            .add4(seq)
            .add4(ack)
            .add2([offset, flags])
            .add2(window)
            .add2(self.urgent)
    }
}

/// The IPv4 header of our SYN-ACK.
#[inline(always)]
pub fn ip_header(key: &ClientKey, len: u16) -> Ipv4Hdr {
    ipv4::sealed(Ipv4Hdr {
        vihl: 0x45,
        tos: 0,
        tot_len: len.to_be_bytes(),
        id: [0; 2],
        frags: DONT_FRAGMENT,
        ttl: TTL,
        proto: TCP,
        check: [0; 2],
        src_addr: key.listen,
        dst_addr: key.client,
    })
}

/// Swaps the Ethernet addresses: the packet goes back to the neighbour that it came from.
#[inline(always)]
fn turn_around<const L2: usize>(packet: &Packet<L2>) -> Step<()> {
    if L2 != ETHERNET {
        return Ok(());
    }
    let mut addresses = [0u8; 12];
    if !load(packet.skb(), 0, &mut addresses) {
        return Err(Verdict::Drop(DropReason::KernelRefused));
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l] = addresses;
    let swapped = [g, h, i, j, k, l, a, b, c, d, e, f];
    // SAFETY: as many octets are written as `swapped` has.
    helper_result(unsafe {
        bpf_skb_store_bytes(
            packet.skb().cast(),
            0,
            swapped.as_ptr().cast(),
            swapped.len() as u32,
            0,
        )
    })
}

const _: () = assert!(size_of::<EthHdr>() == ETHERNET);
