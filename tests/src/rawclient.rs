//! A TCP client made of single packets, to send what no kernel would.
//!
//! It lives beside the client at an address that no kernel owns, so nobody answers in its place.

use crate::addresses::RAW_CLIENT4;
use crate::packet_socket::PacketSocket;
use crate::process::patience;
use crate::segment::{Segment, flag, packet4};
use crate::topology::Lab;
use anyhow::{Context, Result, bail};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// The interface as a raw client uses it.
#[derive(Debug)]
pub struct RawLink {
    socket: PacketSocket,
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
        let socket = lab.client.enter(|| PacketSocket::open("eth0", Some(mac)))??;
        Ok(Self { socket })
    }

    /// Sends a packet, from its IP header on.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        self.socket.send(packet)
    }

    /// The next segment for a client's end, if one comes in time.
    pub fn receive(&self, local: SocketAddrV4, limit: Duration) -> Result<Option<Segment>> {
        let end = Instant::now() + limit * patience();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Some(packet) = self.socket.receive(left)? else { return Ok(None) };
            if let Some(segment) = Segment::read(&packet)
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
