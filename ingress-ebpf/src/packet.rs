//! A packet under the hands of a program, addressed from its network header on.

use core::mem::size_of;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_PSEUDO_HDR},
    helpers::{
        bpf_csum_update, bpf_ktime_get_boot_ns, bpf_l4_csum_replace, bpf_skb_change_proto,
        bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
        bpf_skb_vlan_pop,
    },
    programs::TcContext,
};
use ingress_common::{
    checksum::Sum,
    ip::IPV6_LEN,
    tcp::{HEADER_LEN, Timestamps},
    verdict::{DropReason, Verdict},
};

use crate::header_copy::HeaderCopy;

/// What a function on a packet's way returns: `Err` is the verdict of a packet whose way ends early, `Ok` is what the
/// caller goes on with. At the end of the way that is the verdict itself.
pub type Step<T> = Result<T, Verdict>;

/// `L2` of a device with Ethernet headers.
pub const ETHERNET: usize = 14;
/// `L2` of a device whose packets start with the network header.
pub const NONE: usize = 0;

/// EtherType of IPv4.
pub const ETH_P_IP: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETH_P_IPV6: u16 = 0x86dd;
/// The number of a VLAN in a tag (`linux/if_vlan.h`).
const VLAN_ID: u32 = 0xfff;
/// `pkt_type` of a packet addressed to this host (`linux/if_packet.h`).
const PACKET_HOST: u32 = 0;
/// The largest headers that are read in place: IPv6 and TCP with timestamps.
const HEADERS: usize = IPV6_LEN + HEADER_LEN + Timestamps::LEN;

/// An skb whose network header stands `L2` octets in.
pub struct Packet<const L2: usize> {
    skb: *mut __sk_buff,
}

impl<const L2: usize> Packet<L2> {
    /// Takes a priority tag off, and pulls the fixed headers into the linear part, where they can be read in place.
    #[inline(always)]
    pub fn new(ctx: TcContext) -> Self {
        let packet = Self { skb: ctx.skb.skb };
        packet.untag();
        packet.pull_headers();
        packet
    }

    /// Takes off a priority tag, which says how urgent a frame is and puts it in no VLAN (IEEE 802.1Q): the kernel
    /// treats such a frame as untagged.
    #[inline(always)]
    fn untag(&self) {
        // SAFETY: as in `is_for_us`; the helper changes nothing but the tag.
        unsafe {
            if L2 == ETHERNET
                && (*self.skb).vlan_present != 0
                && (*self.skb).vlan_tci & VLAN_ID == 0
            {
                bpf_skb_vlan_pop(self.skb);
            }
        }
    }

    /// Pulls the fixed headers into the linear part: at first, and again after the octets behind the network header
    /// have moved up.
    #[inline(always)]
    pub fn pull_headers(&self) {
        let wanted = (L2 + HEADERS) as u32;
        let (linear, len) = (self.linear_len(), self.skb_len());
        // Of a small packet there is no more to pull.
        if linear < wanted as usize && linear < len as usize {
            // SAFETY: the helper checks the length itself; pointers are taken anew after it.
            unsafe { bpf_skb_pull_data(self.skb, if len < wanted { len } else { wanted }) };
        }
    }

    /// The skb, for the helpers.
    #[inline(always)]
    pub fn skb(&self) -> *mut __sk_buff {
        self.skb
    }

    /// Whether the link layer addressed this packet to us, outside any VLAN.
    #[inline(always)]
    pub fn is_for_us(&self) -> bool {
        // SAFETY: a program's context is valid as long as it runs; so for every `(*self.skb)` below.
        unsafe { (*self.skb).pkt_type == PACKET_HOST && (*self.skb).vlan_present == 0 }
    }

    #[inline(always)]
    pub fn is_ipv4(&self) -> bool {
        // SAFETY: as in `is_for_us`.
        unsafe { (*self.skb).protocol == ETH_P_IP.to_be() as u32 }
    }

    #[inline(always)]
    pub fn is_ipv6(&self) -> bool {
        // SAFETY: as in `is_for_us`.
        unsafe { (*self.skb).protocol == ETH_P_IPV6.to_be() as u32 }
    }

    /// The interface on which the packet came.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        // SAFETY: as in `is_for_us`.
        unsafe { (*self.skb).ifindex }
    }

    /// Length from the network header on, link-layer padding included.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.skb_len().wrapping_sub(L2 as u32)
    }

    /// Payload octets of each segment of a GRO batch; zero for a single packet.
    #[inline(always)]
    pub fn gso_size(&self) -> u32 {
        // SAFETY: as in `is_for_us`.
        unsafe { (*self.skb).gso_size }
    }

    /// How many packets on the wire this one stands for, of which `headers` octets are headers. A batch that another
    /// machine made (virtio, TUN) comes without a count.
    #[inline(always)]
    pub fn segments(&self, len: u32, headers: u32) -> u64 {
        // SAFETY: as in `is_for_us`.
        let segments = unsafe { (*self.skb).gso_segs };
        let size = self.gso_size();
        if segments != 0 {
            segments as u64
        } else if size == 0 || len <= headers {
            1
        } else {
            (len - headers).div_ceil(size) as u64
        }
    }

    /// Whether every frame of this packet fits `mtu`, when the network header grows by `growth` octets and
    /// headers up to the payload take `headers` octets before that.
    #[inline(always)]
    pub fn fits(&self, mtu: u32, len: u32, headers: u32, growth: i32) -> bool {
        self.largest(len, headers).wrapping_add(growth as u32) <= mtu
    }

    /// Length of the largest packet on the wire in this one, in octets; its headers take `headers` octets.
    #[inline(always)]
    pub fn largest(&self, len: u32, headers: u32) -> u32 {
        let gso_size = self.gso_size();
        if gso_size == 0 { len } else { headers + gso_size }
    }

    /// A copy of the header `offset` octets behind the start of the network header.
    #[inline(always)]
    pub fn read<T: Copy>(&self, offset: usize) -> Option<HeaderCopy<T>> {
        let at = self.at::<T>(offset)?;
        // SAFETY: `at` has checked that a whole `T` lies in the packet; headers are made of octets.
        Some(unsafe { HeaderCopy::from(at) })
    }

    /// Where a header lies, `offset` octets behind the start of the network header; good until a helper changes the
    /// packet.
    #[inline(always)]
    pub fn at<T>(&self, offset: usize) -> Option<*mut T> {
        // SAFETY: as in `is_for_us`.
        let (start, end) = unsafe { ((*self.skb).data as usize, (*self.skb).data_end as usize) };
        if start + L2 + offset + size_of::<T>() > end {
            return None;
        }
        Some((start + L2 + offset) as *mut T)
    }

    /// Copies `N` octets from `offset` on, even where they do not lie in the linear part; `false` where the packet has
    /// not so many.
    #[inline(always)]
    pub fn load<const N: usize>(&self, offset: usize, into: &mut [u8; N]) -> bool {
        load(self.skb, (L2 + offset) as u32, into)
    }

    /// Stores `value` at `offset`.
    #[inline(always)]
    pub fn write<T>(&self, offset: usize, value: &T) -> Step<()> {
        // SAFETY: `value` has as many octets as its type.
        unsafe {
            self.write_bytes(offset, core::ptr::from_ref(value).cast(), size_of::<T>() as u32)
        }
    }

    /// Stores the `len` octets at `from` at `offset`.
    ///
    /// # Safety
    /// `from` points to as many octets that can be read.
    #[inline(always)]
    pub unsafe fn write_bytes(&self, offset: usize, from: *const u8, len: u32) -> Step<()> {
        // SAFETY: the caller says so.
        let failed = unsafe {
            bpf_skb_store_bytes(self.skb.cast(), (L2 + offset) as u32, from.cast(), len, 0)
        };
        helper_result(failed)
    }

    /// Changes the TCP checksum at `offset` by words of the header. The flagless form leaves a checksum
    /// alone that the device has yet to compute (`CHECKSUM_PARTIAL`).
    #[inline(always)]
    pub fn change_checksum(&self, offset: usize, change: Sum) -> Step<()> {
        self.replace_checksum(offset, change, 0)
    }

    /// Changes the TCP checksum at `offset` by words of the pseudo-header, which count in both cases.
    #[inline(always)]
    pub fn change_pseudo_checksum(&self, offset: usize, change: Sum) -> Step<()> {
        self.replace_checksum(offset, change, BPF_F_PSEUDO_HDR as u64)
    }

    #[inline(always)]
    fn replace_checksum(&self, offset: usize, change: Sum, flags: u64) -> Step<()> {
        // SAFETY: the helper checks the offset.
        let failed = unsafe {
            bpf_l4_csum_replace(
                self.skb.cast(),
                (L2 + offset) as u32,
                0,
                change.fold() as u64,
                flags,
            )
        };
        helper_result(failed)
    }

    /// Tells an skb with a whole-packet sum (`CHECKSUM_COMPLETE`) what was added outside the checksums.
    #[inline(always)]
    pub fn add_to_packet_sum(&self, change: Sum) {
        // SAFETY: a no-op for any other skb.
        unsafe { bpf_csum_update(self.skb, change.fold() as u32) };
    }

    /// Turns the network header into one of the other protocol, uninitialised.
    #[inline(always)]
    pub fn change_protocol(&self, ether_type: u16) -> Step<()> {
        // SAFETY: the helper refuses what it cannot do.
        helper_result(unsafe { bpf_skb_change_proto(self.skb, ether_type.to_be(), 0) })
    }

    /// Cuts or extends the packet to `len` octets from the network header on.
    #[inline(always)]
    pub fn resize(&self, len: u32) -> Step<()> {
        // SAFETY: the helper refuses what it cannot do.
        helper_result(unsafe { bpf_skb_change_tail(self.skb, L2 as u32 + len, 0) })
    }

    /// Length of the frame, in octets.
    #[inline(always)]
    pub fn skb_len(&self) -> u32 {
        // SAFETY: as in `is_for_us`.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn linear_len(&self) -> usize {
        // SAFETY: as in `is_for_us`.
        unsafe { ((*self.skb).data_end - (*self.skb).data) as usize }
    }
}

/// Copies the `N` octets at `offset` into the frame, wherever in it they lie; `false` where the frame has not so many.
/// For functions that are not inlined; others have [`Packet::load`].
#[inline(always)]
pub fn load<const N: usize>(skb: *mut __sk_buff, offset: u32, into: &mut [u8; N]) -> bool {
    // SAFETY: `into` has room for the `N` octets, and the helper checks that the frame has as many.
    unsafe {
        bpf_skb_load_bytes(skb.cast(), offset, core::ptr::from_mut(into).cast(), N as u32) == 0
    }
}

/// The code that a helper returns as a step: any but zero means that the kernel refused.
#[inline(always)]
pub fn helper_result(failed: i64) -> Step<()> {
    if failed == 0 { Ok(()) } else { Err(Verdict::Drop(DropReason::KernelRefused)) }
}

/// Nanoseconds since boot, suspended time included: the clock that the daemon uses, too.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes no argument.
    unsafe { bpf_ktime_get_boot_ns() }
}
