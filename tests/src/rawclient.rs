//! A TCP client made of single packets, to send what no kernel would.
//!
//! It lives beside the client at an address that no kernel owns, so nobody answers in its place.

use crate::addresses::RAW_CLIENT4;
use crate::process::patience;
use crate::segment::{Segment, flag, packet4};
use crate::topology::Lab;
use anyhow::{Context, Result, bail};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The interface as a raw client uses it.
#[derive(Debug)]
pub struct RawLink {
    socket: OwnedFd,
    router: libc::sockaddr_ll,
}

/// A connection of a raw client, as far as it got.
#[derive(Clone, Debug)]
pub struct RawConnection {
    /// The client's end.
    pub local: SocketAddrV4,
    /// The other.
    pub remote: SocketAddrV4,
    /// The client's initial sequence number.
    pub isn: u32,
    /// What the server acknowledged by SYN-ACK plus what was received since.
    pub next: u32,
    /// The SYN-ACK.
    pub syn_ack: Segment,
}

/// Options of a SYN as Linux sends it, without timestamps: MSS 1460, SACK, window scale 7.
pub const USUAL_OPTIONS: &[u8] = &[2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 0, 0];

impl RawLink {
    /// Opens the client's interface.
    pub fn open(lab: &Lab) -> Result<Self> {
        let mac = router_mac(lab)?;
        lab.client.enter(|| {
            let socket = socket(
                AddressFamily::Packet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::EthAll,
            )?;
            let index = if_nametoindex("eth0")?;
            // SAFETY: all zeroes is a valid sockaddr_ll.
            let mut router: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            router.sll_family = libc::AF_PACKET as u16;
            router.sll_protocol = (libc::ETH_P_IP as u16).to_be();
            router.sll_ifindex = index.cast_signed();
            router.sll_halen = 6;
            router.sll_addr[..6].copy_from_slice(&mac);
            setsockopt(&socket, sockopt::RcvBuf, &(8 << 20))?;
            Ok(Self { socket, router })
        })?
    }

    /// Sends a packet, from its IP header on.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        // SAFETY: the pointers and lengths are those of a slice and of a sockaddr_ll.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const self.router).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 {
            return Err(std::io::Error::last_os_error()).context("send a raw packet");
        }
        Ok(())
    }

    /// The next segment for a client's end, if one comes in time.
    pub fn receive(&self, local: SocketAddrV4, limit: Duration) -> Result<Option<Segment>> {
        let end = Instant::now() + limit * patience();
        let mut packet = vec![0; 70_000];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = TimeVal::microseconds(left.as_micros().max(1).try_into()?);
            setsockopt(&self.socket, sockopt::ReceiveTimeout, &timeout)?;
            let len = match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                Ok(len) => len,
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error).context("receive raw packets"),
            };
            if let Some(segment) = Segment::read(&packet[..len])
                && segment.destination == local.into()
            {
                return Ok(Some(segment));
            }
        }
    }

    /// Sends a SYN and waits for the SYN-ACK. A port used before must be given a higher `isn`.
    pub fn connect(
        &self,
        port: u16,
        remote: SocketAddrV4,
        isn: u32,
        options: &[u8],
    ) -> Result<RawConnection> {
        let local = SocketAddrV4::new(RAW_CLIENT4, port);
        let syn = segment(local, remote, isn, 0, flag::SYN, options, &[]);
        for _ in 0..3 {
            self.send(&packet4(local, remote, &syn))?;
            while let Some(answer) = self.receive(local, Duration::from_millis(1000))? {
                if answer.is(flag::SYN | flag::ACK) && answer.ack == isn.wrapping_add(1) {
                    let next = answer.seq.wrapping_add(1);
                    return Ok(RawConnection { local, remote, isn, next, syn_ack: answer });
                }
                if answer.flags & flag::RST != 0 {
                    bail!("RST in answer to the SYN from port {port}");
                }
            }
        }
        bail!("no SYN-ACK for port {port}")
    }

    /// Sends data that begins so many bytes into the stream, with everything received acknowledged.
    pub fn data(&self, connection: &RawConnection, offset: usize, data: &[u8]) -> Result<()> {
        self.send_flags(connection, offset, flag::ACK | flag::PSH, data)
    }

    /// The same with flags of one's choice.
    pub fn send_flags(
        &self,
        connection: &RawConnection,
        offset: usize,
        flags: u8,
        data: &[u8],
    ) -> Result<()> {
        let seq = connection.isn.wrapping_add(1).wrapping_add(u32::try_from(offset)?);
        let RawConnection { local, remote, next, .. } = *connection;
        self.send(&packet4(local, remote, &segment(local, remote, seq, next, flags, &[], data)))
    }

    /// Waits for the first data from the server, and for the server's word that it has `sent` bytes.
    pub fn first_answer(
        &self,
        connection: &mut RawConnection,
        sent: usize,
        limit: Duration,
    ) -> Result<Vec<u8>> {
        let end = Instant::now() + limit * patience();
        let all = connection.isn.wrapping_add(1).wrapping_add(u32::try_from(sent)?);
        let (mut acknowledged, mut data) = (false, Vec::new());
        while !acknowledged || data.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let Some(segment) = self.receive(connection.local, left)? else {
                bail!(
                    "no answer within {limit:?} (acknowledged: {acknowledged}, data: {})",
                    data.len()
                );
            };
            if segment.flags & flag::RST != 0 {
                bail!("reset by {}", segment.source);
            }
            acknowledged |= segment.ack == all;
            if segment.seq == connection.next {
                connection.next =
                    connection.next.wrapping_add(u32::try_from(segment.payload.len())?);
                data.extend(segment.payload);
            }
        }
        Ok(data)
    }

    /// Forgets the connection, and tells the server so.
    pub fn reset(&self, connection: &RawConnection, sent: usize) -> Result<()> {
        self.send_flags(connection, sent, flag::RST | flag::ACK, &[])
    }
}

fn segment(
    local: SocketAddrV4,
    remote: SocketAddrV4,
    seq: u32,
    ack: u32,
    flags: u8,
    options: &[u8],
    payload: &[u8],
) -> Segment {
    Segment {
        source: local.into(),
        destination: remote.into(),
        hops: 64,
        seq,
        ack,
        flags,
        window: 64240,
        options: options.to_vec(),
        payload: payload.to_vec(),
    }
}

fn router_mac(lab: &Lab) -> Result<[u8; 6]> {
    let text = lab.mac(&lab.inet, "client")?;
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    bytes.try_into().ok().with_context(|| format!("{text} is no MAC address"))
}
