//! A SYN turned into our SYN-ACK, in place.
//!
//! Its checksum is changed, not computed: a packet from this very machine may carry one that the device has
//! yet to fill in, and a program cannot see which kind it holds.

use aya_ebpf::helpers::bpf_csum_diff;
use ingress_common::{
    checksum::Sum,
    cookie,
    maps::{CookieKeys, Listener},
    tcp::{self, Flags, OPTION_ROOM, Seq, SynOptions},
    verdict::{DropReason, Verdict},
    verifier::forget,
};
use network_types::{eth::EthHdr, ip::Ipv4Hdr};

use crate::{
    packet::{ETHERNET, Packet, done, room},
    to_backend::Segment,
};

const TCP_OFFSET: usize = 20;
const CHECKSUM: usize = TCP_OFFSET + 16;
/// Linux' default for packets of its own.
const TTL: u8 = 64;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// Rewrites the packet and returns our ISN.
#[inline(always)]
pub fn answer<const L2: usize>(
    packet: &Packet<L2>,
    segment: &Segment,
    listener: &Listener,
    keys: &CookieKeys,
    now: u64,
) -> Result<Seq, Verdict> {
    let area = match packet.options(TCP_OFFSET + tcp::HEADER_LEN, segment.options) {
        Some(area) => area,
        None => room().ok_or(Verdict::Drop(DropReason::KernelRefused))?,
    };
    // However many ways there are through the options, what follows is checked once.
    let offered = tcp::syn_options(area, segment.options).pack();
    let offered = SynOptions::unpack(forget(offered, now));
    let client_isn = Seq(u32::from_be_bytes(segment.tcp.seq));
    let isn = cookie::mint(keys, now, &segment.key, client_isn, &taken_up(&offered, listener));

    let old = Wire::of(segment);
    let mut new = Wire::default();
    let options = SynOptions {
        mss: Some(u16::from_be_bytes(listener.mss)),
        window_scale: offered.window_scale.map(|_| listener.scale),
        sack_permitted: offered.sack_permitted && listener.sack != 0,
    };
    let options_len = options.emit(&mut new.options);
    new.ports = [segment.tcp.dest, segment.tcp.source];
    new.seq = isn.0.to_be_bytes();
    new.ack = client_isn.plus(1).0.to_be_bytes();
    new.offset = ((tcp::HEADER_LEN + options_len) as u8) << 2;
    new.flags = Flags::SYN.with(Flags::ACK).0;
    new.window = listener.window;

    let len = (TCP_OFFSET + tcp::HEADER_LEN + options_len) as u16;
    packet.resize(len as u32)?;
    let change = new.change_from(&old, area);
    write(packet, &new, area, options_len)?;
    packet.change_checksum(CHECKSUM, change)?;
    let before = (segment.len as u16 - TCP_OFFSET as u16).to_be_bytes();
    let after = (len - TCP_OFFSET as u16).to_be_bytes();
    packet.change_pseudo_checksum(CHECKSUM, Sum(0).sub2(before).add2(after))?;
    packet.write(0, &ip_header(segment, len))?;
    turn_around(packet)?;
    Ok(isn)
}

/// What the cookie has to remember: what the client offered and we took up.
#[inline(always)]
fn taken_up(offered: &SynOptions, listener: &Listener) -> SynOptions {
    SynOptions {
        mss: offered.mss,
        window_scale: offered.window_scale,
        sack_permitted: offered.sack_permitted && listener.sack != 0,
    }
}

/// A TCP header with up to twelve octets of options, less the checksum, which is changed in place.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Wire {
    ports: [[u8; 2]; 2],
    seq: [u8; 4],
    ack: [u8; 4],
    offset: u8,
    flags: u8,
    window: [u8; 2],
    checksum: [u8; 2],
    urgent: [u8; 2],
    options: [u8; 12],
}

impl Wire {
    #[inline(always)]
    fn of(segment: &Segment) -> Self {
        let tcp = &segment.tcp;
        Self {
            ports: [tcp.source, tcp.dest],
            seq: tcp.seq,
            ack: tcp.ack_seq,
            offset: ((tcp::HEADER_LEN + segment.options) as u8) << 2,
            flags: segment.flags.0,
            window: tcp.window,
            checksum: [0; 2],
            urgent: tcp.urg_ptr,
            options: [0; 12],
        }
    }

    /// By how much the checksum changes, old options included.
    #[inline(always)]
    fn change_from(&self, old: &Self, area: &[u8; OPTION_ROOM]) -> Sum {
        // SAFETY: fixed lengths inside live objects; the helper wants mutable pointers but only reads.
        let options = unsafe {
            bpf_csum_diff(
                area.as_ptr().cast_mut().cast(),
                40,
                self.options.as_ptr().cast_mut().cast(),
                12,
                0,
            )
        };
        // The reserved bits beside the data offset are not ours to know: they were zero, or the SYN was odd.
        Sum(options as u32)
            .plus(Sum(0).sub4(old.seq).add4(self.seq).sub4(old.ack).add4(self.ack))
            .plus(
                Sum(0)
                    .sub2([old.offset, old.flags])
                    .add2([self.offset, self.flags])
                    .sub2(old.window)
                    .add2(self.window)
                    .sub2(old.urgent)
                    .add2(self.urgent),
            )
    }
}

/// Stores everything but the checksum.
#[inline(always)]
fn write<const L2: usize>(
    packet: &Packet<L2>,
    new: &Wire,
    room: &mut [u8; OPTION_ROOM],
    options_len: usize,
) -> Result<(), Verdict> {
    #[repr(C)]
    struct Front {
        ports: [[u8; 2]; 2],
        seq: [u8; 4],
        ack: [u8; 4],
        offset: u8,
        flags: u8,
        window: [u8; 2],
    }
    let Wire { ports, seq, ack, offset, flags, window, checksum: _, urgent, options } = *new;
    packet.write(TCP_OFFSET, &Front { ports, seq, ack, offset, flags, window })?;
    packet.write(CHECKSUM + 2, &urgent)?;
    let mut nth = 0;
    while nth < options.len() {
        room[nth] = options[nth];
        nth += 1;
    }
    packet.write_options(TCP_OFFSET + tcp::HEADER_LEN, room, options_len)
}

#[inline(always)]
fn ip_header(segment: &Segment, len: u16) -> Ipv4Hdr {
    let mut header = Ipv4Hdr {
        vihl: 0x45,
        tos: 0,
        tot_len: len.to_be_bytes(),
        id: [0; 2],
        frags: DONT_FRAGMENT,
        ttl: TTL,
        proto: segment.ip.proto,
        check: [0; 2],
        src_addr: segment.ip.dst_addr,
        dst_addr: segment.ip.src_addr,
    };
    header.check = Sum(0)
        .add2([header.vihl, header.tos])
        .add2(header.tot_len)
        .add2(header.frags)
        .add2([header.ttl, header.proto])
        .add4(header.src_addr)
        .add4(header.dst_addr)
        .checksum();
    header
}

/// Back to the neighbour that it came from.
#[inline(always)]
fn turn_around<const L2: usize>(packet: &Packet<L2>) -> Result<(), Verdict> {
    if L2 != ETHERNET {
        return Ok(());
    }
    let mut addresses = [0u8; 12];
    // SAFETY: twelve octets are read into twelve; tc packets of this program have an Ethernet header.
    done(unsafe {
        aya_ebpf::helpers::bpf_skb_load_bytes(
            packet.skb().cast(),
            0,
            addresses.as_mut_ptr().cast(),
            12,
        )
    })?;
    let [a, b, c, d, e, f, g, h, i, j, k, l] = addresses;
    let swapped = [g, h, i, j, k, l, a, b, c, d, e, f];
    // SAFETY: twelve octets are written from twelve.
    done(unsafe {
        aya_ebpf::helpers::bpf_skb_store_bytes(
            packet.skb().cast(),
            0,
            swapped.as_ptr().cast(),
            12,
            0,
        )
    })
}

const _: () = assert!(size_of::<EthHdr>() == ETHERNET);
