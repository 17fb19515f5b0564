//! The packet that an error quotes, found and taken back to where it came from.

use ingress_common::{
    checksum::Sum,
    ip::{IPV4_LEN, IPV6_LEN, TCP},
    maps::{BackendKey, ClientKey},
    splice::OptionShift,
    tcp::{CHECKSUM_OFFSET, HEADER_LEN, OPTION_BUFFER_LEN},
};

use super::{ICMP_LEN, Spliced};
use crate::wire::{write_v4, write_v6};

/// Ports and sequence number: what every error quotes of a TCP header (RFC 792).
const LEAST: usize = 8;

/// A packet of ours to a client, as an ICMP error quotes it.
#[derive(Clone, Copy, Debug)]
pub struct QuotedV4<'a> {
    header: &'a [u8],
    tcp: &'a [u8],
}

/// A packet of ours to a backend, as an ICMPv6 error quotes it.
#[derive(Clone, Copy, Debug)]
pub struct QuotedV6<'a> {
    header: &'a [u8],
    tcp: &'a [u8],
}

impl<'a> QuotedV4<'a> {
    /// Finds it behind an IPv4 and an ICMP header.
    #[must_use]
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        let (header, tcp) = packet.get(IPV4_LEN + ICMP_LEN..)?.split_at_checked(IPV4_LEN)?;
        (header[0] == 0x45 && header[9] == TCP && tcp.len() >= LEAST)
            .then_some(Self { header, tcp })
    }

    /// The flow that it belonged to.
    #[must_use]
    pub fn key(&self) -> ClientKey {
        let [listen_port, client_port] = ports(self.tcp);
        ClientKey::new(
            octets(&self.header[16..]),
            client_port,
            octets(&self.header[12..]),
            listen_port,
        )
    }

    /// As the backend sent it.
    pub(super) fn as_sent(&self, flow: &Spliced) -> Vec<u8> {
        let total = u16::from_be_bytes(octets(&self.header[2..]));
        let mut packet = vec![0; IPV6_LEN];
        let payload = total.saturating_sub(IPV4_LEN as u16);
        write_v6(&mut packet, flow.backend, flow.source, TCP, payload);
        packet[0] |= self.header[1] >> 4;
        packet[1] = self.header[1] << 4;
        packet[7] = self.header[8];
        packet.extend(self.tcp);
        // Numbers and a clock of the backend's own.
        let [_, ts_delta] = flow.deltas_back();
        let options = OptionShift::to_client(ts_delta, flow.ts_delta.is_some());
        let addresses = flow.address_change_to_v6();
        shift(&mut packet[IPV6_LEN..], 4, flow.delta.wrapping_neg(), &options, addresses);
        packet
    }
}

impl<'a> QuotedV6<'a> {
    /// Finds it behind an IPv6 and an ICMPv6 header.
    #[must_use]
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        let (header, tcp) = packet.get(IPV6_LEN + ICMP_LEN..)?.split_at_checked(IPV6_LEN)?;
        (header[0] >> 4 == 6 && header[6] == TCP && tcp.len() >= LEAST)
            .then_some(Self { header, tcp })
    }

    /// The flow that it belonged to.
    #[must_use]
    pub fn key(&self) -> BackendKey {
        let [client_port, backend_port] = ports(self.tcp);
        BackendKey::new(
            octets(&self.header[24..]),
            backend_port,
            octets(&self.header[8..]),
            client_port,
        )
    }

    /// As the client sent it.
    pub(super) fn as_sent(&self, flow: &Spliced) -> Vec<u8> {
        let payload = usize::from(u16::from_be_bytes(octets(&self.header[4..])));
        let mut packet = vec![0; IPV4_LEN];
        packet.extend(self.tcp);
        // The client acknowledges numbers that we gave out, and echoes our clock.
        let [delta, ts_delta] = flow.deltas_back();
        let options = OptionShift::to_backend(delta, ts_delta, flow.ts_delta.is_some());
        let addresses = flow.address_change_to_v4();
        shift(&mut packet[IPV4_LEN..], 8, flow.delta, &options, addresses);
        packet[1] = self.header[0] << 4 | self.header[1] >> 4;
        write_v4(&mut packet, flow.client, flow.listen, TCP, payload + IPV4_LEN);
        packet[8] = self.header[7];
        let checksum = {
            packet[10..12].fill(0);
            Sum::default().run(&packet[..IPV4_LEN]).checksum()
        };
        packet[10..12].copy_from_slice(&checksum);
        packet
    }
}

/// Adds `by` to the number at `at`, shifts the options, and keeps the checksum right, as far as all that was
/// quoted.
fn shift(tcp: &mut [u8], at: usize, by: u32, options: &OptionShift, addresses: Sum) {
    let Some(field) = tcp.get(at..at + 4) else { return };
    let old: [u8; 4] = octets(field);
    let new = u32::from_be_bytes(old).wrapping_add(by).to_be_bytes();
    tcp[at..at + 4].copy_from_slice(&new);
    if let Some(checksum) = tcp.get(CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2) {
        let change = addresses.plus(Sum::default().sub4(old).add4(new));
        let checksum = change.update(octets(checksum));
        tcp[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum);
    }
    let header = tcp.get(12).map_or(0, |offset| usize::from(offset >> 4) * 4);
    if let Some(area) = tcp.get_mut(HEADER_LEN..header) {
        let mut room = [0; OPTION_BUFFER_LEN];
        room[..area.len()].copy_from_slice(area);
        if let Some(change) = options.apply(&mut room, area.len()) {
            area.copy_from_slice(&room[..area.len()]);
            let checksum = change.update(octets(&tcp[CHECKSUM_OFFSET..]));
            tcp[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&checksum);
        }
    }
}

fn ports(tcp: &[u8]) -> [[u8; 2]; 2] {
    [octets(tcp), octets(&tcp[2..])]
}

/// The first octets of a slice that was checked to be long enough.
fn octets<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut octets = [0; N];
    octets.copy_from_slice(&slice[..N]);
    octets
}
