//! The devices packets leave through, kept current by the daemon.

use aya_ebpf::{macros::map, maps::Array};
use ingress_common::{
    maps::{Device, Host, MAX_SITES},
    verdict::Egress,
};

#[map]
static UPLINK: Array<Device> = Array::pinned(1, 0);
#[map]
static SITES: Array<Device> = Array::pinned(MAX_SITES, 0);
/// The sites' names, so that an index means the same to the next daemon; no program reads them.
#[map]
static SITE_NAMES: Array<Host> = Array::pinned(MAX_SITES, 0);

/// The uplink, while it is there.
#[inline(always)]
pub fn uplink() -> Option<&'static Device> {
    present(UPLINK.get(0)?)
}

/// A site's tunnel, while it is there.
#[inline(always)]
pub fn site(index: u16) -> Option<&'static Device> {
    present(SITES.get(index as u32)?)
}

/// The way out through a device, to a next hop.
#[inline(always)]
pub fn through(device: &Device, next_hop: u8) -> Egress {
    Egress { ifindex: device.ifindex, ethernet: device.ethernet != 0, next_hop }
}

#[inline(always)]
fn present(device: &'static Device) -> Option<&'static Device> {
    if device.ifindex == 0 { None } else { Some(device) }
}
