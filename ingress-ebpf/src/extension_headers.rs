//! Extension headers of what a backend sends, which IPv4 has no place for (RFC 7915 §5.1).

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_NO_CSUM_RESET,
        bpf_adj_room_mode::BPF_ADJ_ROOM_NET,
    },
    helpers::bpf_skb_adjust_room,
};
use ingress_common::{
    checksum::Sum,
    ip::{IPV6_LEN, TCP},
    policy::{is_left_out, parse_extension_header},
    verifier::{forget, opaque},
};
use network_types::ip::Ipv6Hdr;

use crate::packet::{Packet, Step, helper_result, load, now};

/// Offset of the payload length in an IPv6 header, with next header and hop limit behind it.
const PAYLOAD_LEN: usize = 4;
/// How many extension headers are stripped. Nobody sends more of them in front of TCP.
const MAX_HEADERS: u32 = 4;
/// The most octets of extension headers that the kernel takes off at once; also a mask, which shows the verifier that.
const MAX_STRIPPED: u64 = 0xfff;

/// Takes off the headers between IPv6 and TCP, and corrects `ip` accordingly. `false` where the packet carries
/// something other than TCP, or a header that must not be left out.
#[inline(always)]
pub fn strip<const L2: usize>(packet: &Packet<L2>, ip: &mut Ipv6Hdr) -> Step<bool> {
    let payload = u16::from_be_bytes(ip.payload_len);
    let octets = measure(packet.skb(), L2 as u32, ip.next_hdr as u32, payload as u64);
    let octets = opaque(octets & MAX_STRIPPED);
    if octets == 0 || octets > payload as u64 {
        return Ok(false);
    }
    // SAFETY: the helper refuses what it cannot do.
    helper_result(unsafe {
        bpf_skb_adjust_room(
            packet.skb(),
            -(octets as i32),
            BPF_ADJ_ROOM_NET,
            (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) as u64,
        )
    })?;
    packet.pull_headers();
    let before = Sum(0).add2(ip.payload_len).add2([ip.next_hdr, ip.hop_limit]);
    ip.payload_len = (payload - octets as u16).to_be_bytes();
    ip.next_hdr = TCP;
    let [high, low] = ip.payload_len;
    packet.write(PAYLOAD_LEN, &[high, low, TCP, ip.hop_limit])?;
    let after = Sum(0).add2(ip.payload_len).add2([ip.next_hdr, ip.hop_limit]);
    packet.add_to_packet_sum(after.plus(Sum(!before.fold() as u32)));
    Ok(true)
}

/// The length of the headers in octets, all within the payload; zero where no TCP follows, or not all may be left out.
///
/// Not inlined: it is verified apart from what comes before.
#[inline(never)]
fn measure(skb: *mut __sk_buff, l2: u32, first: u32, payload: u64) -> u64 {
    let salt = now();
    let (mut kind, mut offset) = (first as u8, 0u64);
    let mut nth = 0;
    while nth < MAX_HEADERS {
        if kind == TCP {
            break;
        }
        let mut head = [0u8; 8];
        let loaded = load(skb, l2 + IPV6_LEN as u32 + offset as u32, &mut head);
        if !loaded || offset + 8 > payload || !is_left_out(kind, head) {
            return 0;
        }
        let header = parse_extension_header(kind, head);
        let behind = offset + header.len as u64;
        if behind > MAX_STRIPPED {
            return 0;
        }
        kind = forget(header.next as u64, salt) as u8;
        offset = opaque(forget(behind, salt) & MAX_STRIPPED);
        nth += 1;
    }
    if kind == TCP { offset } else { 0 }
}
