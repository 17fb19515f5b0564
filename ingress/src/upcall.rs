//! Packets that the programs hand up, as typed events.

use std::net::{SocketAddrV4, SocketAddrV6};

use aya::maps::{MapData, RingBuf};
use ingress_common::upcall::{HEADER_LEN, Header, Upcall};
use tokio::io::{Interest, unix::AsyncFd};

use crate::wire::{self, Addressed};

/// What the programs had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromKernel {
    /// A client's segment: with a valid cookie, or of a pending tuple.
    Client(Addressed<SocketAddrV4>),
    /// An expected backend's segment.
    Backend(Addressed<SocketAddrV6>),
    /// A client's segment that deserves a reset.
    ResetClient(Addressed<SocketAddrV4>),
    /// A backend's segment that deserves a reset.
    ResetBackend(Addressed<SocketAddrV6>),
    /// A backend's acknowledgment that covers what its flow was watched for.
    Acknowledged(Addressed<SocketAddrV6>),
    /// An ICMPv6 error to the NAT46 prefix, from its IPv6 header on.
    Icmp6Error(Vec<u8>),
    /// An ICMP error about a packet of a listed port, from its IPv4 header on.
    Icmp4Error(Vec<u8>),
    /// A packet of a flow that the next device does not take, from its IP header on.
    TooBig(Vec<u8>),
    /// A packet of a flow that came with its last hop, from its IP header on.
    HopLimit(Vec<u8>),
}

/// The reading end of the ring buffer.
pub struct Upcalls {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Upcalls {
    /// Reads from a ring buffer. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the runtime cannot watch the ring.
    pub fn new(ring: RingBuf<MapData>) -> std::io::Result<Self> {
        // SAFETY: the ring's descriptor stays open, and the same, for as long as the ring lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self { ring: ring.map_err(|error| error.into_parts().1)? })
    }

    /// Waits until something is there, then takes up to `most` events into `events`.
    ///
    /// Only a ring that is empty at first is waited for. What is done about events may bring the next ones at once, as
    /// a SYN does to a backend nearby, and those are found without a wait.
    ///
    /// # Errors
    /// Where the runtime is going away.
    pub async fn read(&mut self, events: &mut Vec<FromKernel>, most: usize) -> std::io::Result<()> {
        loop {
            let mut guard = self.ring.readable_mut().await?;
            let mut taken = 0;
            while taken < most {
                let next = guard.get_inner_mut().next().map(|record| decode(&record));
                let Some(event) = next else { break };
                events.extend(event);
                taken += 1;
            }
            if taken > 0 {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}

/// `None` for what is damaged or makes no sense: a record is as trustworthy as the packet in it.
fn decode(record: &[u8]) -> Option<FromKernel> {
    let (header, packet) = split(record)?;
    let len = header.len as usize;
    let packet = packet.get(..header.captured as usize)?;
    Some(match Upcall::from_number(header.kind)? {
        Upcall::Client => FromKernel::Client(wire::read_v4(packet, len)?),
        Upcall::Backend => FromKernel::Backend(wire::read_v6(packet, len)?),
        Upcall::ResetClient => FromKernel::ResetClient(wire::read_v4(packet, len)?),
        Upcall::ResetBackend => FromKernel::ResetBackend(wire::read_v6(packet, len)?),
        Upcall::Acknowledged => FromKernel::Acknowledged(wire::read_v6(packet, len)?),
        Upcall::Icmp6Error => FromKernel::Icmp6Error(packet.to_vec()),
        Upcall::TooBig => FromKernel::TooBig(packet.to_vec()),
        Upcall::HopLimit => FromKernel::HopLimit(packet.to_vec()),
        Upcall::Icmp4Error => FromKernel::Icmp4Error(packet.to_vec()),
    })
}

fn split(record: &[u8]) -> Option<(Header, &[u8])> {
    let (header, packet) = record.split_at_checked(HEADER_LEN)?;
    let word = |nth: usize| header[4 * nth..4 * nth + 4].try_into().ok().map(u32::from_ne_bytes);
    let header = Header { kind: word(0)?, ifindex: word(1)?, len: word(2)?, captured: word(3)? };
    Some((header, packet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::Segment;
    use std::net::Ipv4Addr;

    fn record(kind: Upcall, packet: &[u8], captured: usize) -> Vec<u8> {
        let mut record = Vec::new();
        for word in [kind as u32, 7, packet.len() as u32, captured as u32] {
            record.extend(word.to_ne_bytes());
        }
        record.extend(packet);
        record
    }

    #[test]
    fn a_truncated_packet_yields_what_was_captured() {
        let from = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let segment = Segment { payload: vec![5; 500], ..Segment::default() };
        let packet = wire::build_v4(from, from, &segment);
        let event = decode(&record(Upcall::Client, &packet, 140)).unwrap();
        let FromKernel::Client(read) = event else { panic!("{event:?}") };
        assert_eq!(read.segment.payload, vec![5; 100]);
    }

    #[test]
    fn nonsense_is_dropped() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&record(Upcall::Client, &[1, 2, 3], 3)), None);
        assert_eq!(decode(&record(Upcall::Client, &[], 99)), None);
    }
}
