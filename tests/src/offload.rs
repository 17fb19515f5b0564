//! What ethtool(8) switches, without ethtool.

use crate::netns::Namespace;
use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::os::fd::AsRawFd;

/// `ETHTOOL_SGRO` of linux/ethtool.h.
const SET_GRO: u32 = 0x2c;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Turns generic receive offload on or off. A veth takes what an XDP program of its peer sends only where this is on.
pub fn set_gro(namespace: &Namespace, interface: &str, on: bool) -> Result<()> {
    let mut value = Value { command: SET_GRO, data: u32::from(on) };
    let name = interface.as_bytes();
    // SAFETY: a request of zeros is one without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, octet) in request.ifr_name.iter_mut().zip(name) {
        *place = octet.cast_signed();
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(&mut value).cast();
    let socket = namespace.enter(|| {
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
    })??;
    // SAFETY: the request names an interface by a string that ends within its field, and points to a value that
    // outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    nix::errno::Errno::result(result)
        .map(drop)
        .with_context(|| format!("{}: GRO of {interface}", namespace.name()))
}
