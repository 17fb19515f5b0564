//! Raw sockets: packets of the daemon to clients and backends.
//!
//! Both build their own IP header: the address that a backend sees belongs to a client, and the address
//! that a client sees is answered for by the programs, not by this host's TCP.

use std::{
    io::{self, IoSlice},
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    libc::in6_pktinfo,
    sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
        SockaddrIn6, sendmsg, sendto, socket,
    },
};

use crate::{handshake::Segment, wire};

/// Sends segments.
pub struct Transmit {
    v4: OwnedFd,
    v6: OwnedFd,
}

impl Transmit {
    /// Opens the sockets.
    ///
    /// # Errors
    /// Without CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        Ok(Self { v4: raw(AddressFamily::Inet)?, v6: raw(AddressFamily::Inet6)? })
    }

    /// Sends a segment over IPv4, by the host's routes.
    ///
    /// # Errors
    /// As the kernel says; a full queue is one more lost packet.
    pub fn v4(&self, from: SocketAddrV4, to: SocketAddrV4, segment: &Segment) -> io::Result<()> {
        self.packet_v4(&wire::build_v4(from, to, segment), *to.ip())
    }

    /// Sends a segment over IPv6, through the interface `ifindex`.
    ///
    /// # Errors
    /// As [`Self::v4`].
    pub fn v6(
        &self,
        from: SocketAddrV6,
        to: SocketAddrV6,
        segment: &Segment,
        ifindex: u32,
    ) -> io::Result<()> {
        self.packet_v6(&wire::build_v6(from, to, segment), *to.ip(), ifindex)
    }

    /// Sends a whole IPv4 packet.
    ///
    /// # Errors
    /// As [`Self::v4`].
    pub fn packet_v4(&self, packet: &[u8], to: Ipv4Addr) -> io::Result<()> {
        let address = SockaddrIn::from(SocketAddrV4::new(to, 0));
        sendto(self.v4.as_raw_fd(), packet, &address, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// Sends a whole IPv6 packet, through the interface `ifindex`.
    ///
    /// # Errors
    /// As [`Self::v4`].
    pub fn packet_v6(&self, packet: &[u8], to: Ipv6Addr, ifindex: u32) -> io::Result<()> {
        let address = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0));
        // SAFETY: a plain struct of integers, for which zero is a value.
        let mut info: in6_pktinfo = unsafe { std::mem::zeroed() };
        info.ipi6_ifindex = ifindex;
        sendmsg(
            self.v6.as_raw_fd(),
            &[IoSlice::new(packet)],
            &[ControlMessage::Ipv6PacketInfo(&info)],
            MsgFlags::MSG_DONTWAIT,
            Some(&address),
        )?;
        Ok(())
    }
}

fn raw(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(family, SockType::Raw, flags, SockProtocol::Raw)?)
}
