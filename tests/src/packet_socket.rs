//! A packet socket: whole packets, past the routes and rules of the kernel.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Sends by one interface, and sees everything in its namespace, its own packets too.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl PacketSocket {
    /// Opens one in this thread's network namespace. `neighbour` is the next hop, where the interface has such.
    pub fn open(interface: &str, neighbour: Option<[u8; 6]>) -> Result<Self> {
        let (family, kind) = (AddressFamily::Packet, SockType::Datagram);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
        setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))?;
        let index =
            if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
        // SAFETY: all zeroes is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index.cast_signed();
        if let Some(mac) = neighbour {
            address.sll_halen = 6;
            address.sll_addr[..6].copy_from_slice(&mac);
        }
        Ok(Self { socket, address })
    }

    /// Sends a packet, from its IP header on.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let kind = if is_v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
        let address = libc::sockaddr_ll { sll_protocol: (kind as u16).to_be(), ..self.address };
        // SAFETY: the pointers and lengths are those of a slice and of a sockaddr_ll.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        Errno::result(sent).context("send a raw packet")?;
        Ok(())
    }

    /// The next packet that is seen, if one is in time.
    pub fn receive(&self, limit: Duration) -> Result<Option<Vec<u8>>> {
        let end = Instant::now() + limit;
        let mut packet = vec![0; 70_000];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = TimeVal::microseconds(left.as_micros().max(1).try_into()?);
            setsockopt(&self.socket, sockopt::ReceiveTimeout, &timeout)?;
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Ok(len) => {
                    packet.truncate(len);
                    return Ok(Some(packet));
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error).context("receive raw packets"),
            }
        }
    }
}
