//! What the programs hand up, taken in.

use std::{
    net::{SocketAddrV4, SocketAddrV6},
    time::Duration,
};

use ingress_common::{
    cookie,
    ip::IPV6_LEAST_MTU,
    maps::BackendKey,
    tcp::{Flags, HEADERS_V6, Seq},
};

use super::{Core, log_send};
use crate::{
    config,
    control::Interface,
    daemon::clock::boot_nanos,
    flows::client_key,
    handshake::{Admission, ClientTuple, Event, Protocol, Segment},
    icmp::{self, Mtus, QuotedV4, QuotedV6},
    upcall::FromKernel,
    wire::{self, Addressed},
};

/// How long the ring may hold records from before the start. A segment whose flow exists by now is ignored: it would
/// restart the handshake, and its client repeats it on the flow.
const HANDOVER: Duration = Duration::from_secs(5);

/// Nobody listens on that port of that address.
pub(super) struct NotListed;

impl Core {
    pub(super) fn on_upcall(&mut self, upcall: FromKernel) {
        match upcall {
            FromKernel::Client(packet) => self.on_client(packet),
            FromKernel::Backend(packet) => {
                // What follows a SYN-ACK on its heels was handed up before there was a flow.
                let key = backend_key(&packet);
                let owner = self.awaited.expects(&key).or_else(|| self.flows.holder(&key));
                if let Some(tuple) = owner {
                    let Addressed { source: from, segment, .. } = packet;
                    self.on_event(Event::Backend { tuple, from, segment });
                }
            }
            FromKernel::Acknowledged(packet) => {
                if let Some(tuple) = self.awaited.watches(&backend_key(&packet)) {
                    self.on_event(Event::BackendAcked { tuple, ack: packet.segment.ack });
                }
            }
            FromKernel::ResetClient(packet) => {
                if let Some(reset) = reset_for(&packet.segment) {
                    log_send(self.transmit.v4(packet.destination, packet.source, &reset));
                }
            }
            FromKernel::ResetBackend(packet) => {
                let index = self.shared.applied().tunnel_index_to(*packet.source.ip());
                if let (Some(reset), Some(index)) = (reset_for(&packet.segment), index) {
                    log_send(self.transmit.v6(packet.destination, packet.source, &reset, index));
                }
            }
            FromKernel::Icmp6Error(packet) => self.on_icmp6_error(&packet),
            FromKernel::Icmp4Error(packet) => self.on_icmp4_error(&packet),
            FromKernel::TooBig(packet) => {
                self.report(&packet, icmp::too_big_for_client, icmp::too_big_for_backend);
            }
            FromKernel::HopLimit(packet) => self.report(
                &packet,
                |packet, _| icmp::hop_limit_for_client(packet),
                |packet, _, from| icmp::hop_limit_for_backend(packet, from),
            ),
        }
    }

    /// From a site: about a SYN of ours, or about a flow, and then for its client.
    fn on_icmp6_error(&mut self, packet: &[u8]) {
        if !icmp::is_intact_v6(packet) {
            return;
        }
        let Some(key) = QuotedV6::of(packet).map(|quoted| quoted.key()) else { return };
        if let Some(tuple) = self.awaited.expects(&key) {
            // Too big is no refusal; a SYN never is.
            if icmp::packet_too_big(packet).is_none() {
                let port = u16::from_be_bytes(key.backend_port);
                let backend = SocketAddrV6::new(key.backend.into(), port, 0, 0);
                self.on_event(Event::Unreachable { tuple, backend });
            }
            return;
        }
        let Some((flow, site)) = self.flows.by_backend(&key) else { return };
        if let Some(tuple) = self.awaited.watches(&key)
            && let Some(mtu) = icmp::packet_too_big(packet)
        {
            self.on_event(Event::TooBig { tuple, mtu });
        }
        if let Some(error) = icmp::to_v4(packet, &flow, self.mtus(site)) {
            log_send(self.transmit.packet_v4(&error, flow.client.into()));
        }
    }

    /// From the world, about a flow: for its backend.
    fn on_icmp4_error(&mut self, packet: &[u8]) {
        if !icmp::is_intact_v4(packet) {
            return;
        }
        let Some(key) = QuotedV4::of(packet).map(|quoted| quoted.key()) else { return };
        let Some((flow, site)) = self.flows.by_client(&key) else { return };
        let applied = self.shared.applied();
        let Some(tunnel) = applied.tunnel(site) else { return };
        let prefix = self.shared.config().nat46;
        if let Some(error) = icmp::to_v6(packet, &flow, &prefix, self.mtus(site)) {
            self.send_to_site(&error, flow.backend, tunnel.index);
        }
    }

    /// Tells the sender of a flow's packet that it went no further than here.
    fn report(
        &self,
        packet: &[u8],
        for_client: impl FnOnce(&[u8], u32) -> Option<Vec<u8>>,
        for_backend: impl FnOnce(&[u8], u32, [u8; 16]) -> Option<Vec<u8>>,
    ) {
        let applied = self.shared.applied();
        match packet {
            [first, ..] if first >> 4 == 4 => {
                let Some(read) = wire::read_v4(packet, usize::MAX) else { return };
                let tuple = ClientTuple { client: read.source, listen: read.destination };
                let Some((flow, site)) = self.flows.by_client(&client_key(tuple)) else { return };
                let backend = flow.mss.map_or(u32::MAX, |mss| u32::from(mss) + HEADERS_V6);
                if let Some(error) = for_client(packet, mtu(applied.tunnel(site)).min(backend)) {
                    log_send(self.transmit.packet_v4(&error, *read.source.ip()));
                }
            }
            _ => {
                let Some(read) = wire::read_v6(packet, usize::MAX) else { return };
                let Some((flow, _)) = self.flows.by_backend(&backend_key(&read)) else { return };
                let from = self.shared.config().nat46.embed(flow.listen);
                let index = applied.tunnel_index_to(*read.source.ip());
                if let Some(error) = for_backend(packet, mtu(applied.uplink.as_ref()), from) {
                    self.send_to_site(&error, flow.backend, index);
                }
            }
        }
    }

    fn send_to_site(&self, packet: &[u8], backend: [u8; 16], index: Option<u32>) {
        if let Some(index) = index {
            log_send(self.transmit.packet_v6(packet, backend.into(), index));
        }
    }

    fn mtus(&self, site: u16) -> Mtus {
        let applied = self.shared.applied();
        Mtus { uplink: mtu(applied.uplink.as_ref()), tunnel: mtu(applied.tunnel(site)) }
    }

    /// The program has checked the cookie; what it says is read here.
    fn on_client(&mut self, packet: Addressed<SocketAddrV4>) {
        let tuple = ClientTuple { client: packet.source, listen: packet.destination };
        let segment = packet.segment;
        let cookie = segment.ack.minus(1);
        if self.started.elapsed() < HANDOVER && self.flows.stands(tuple, cookie) {
            return;
        }
        let Ok(admission) = self.admission(tuple, segment.seq, cookie) else { return };
        self.on_event(Event::Client { tuple, segment, admission });
    }

    /// What a cookie says of a client, where the port is (still) listed.
    pub(super) fn admission(
        &self,
        tuple: ClientTuple,
        seq: Seq,
        cookie: Seq,
    ) -> Result<Option<Admission>, NotListed> {
        let applied = self.shared.applied();
        let listening = applied.listeners.get(&tuple.listen).ok_or(NotListed)?;
        let admitted =
            cookie::check(self.key_ring.keys(), boot_nanos(), &client_key(tuple), seq, cookie);
        Ok(admitted.map(|admitted| Admission {
            cookie,
            client_isn: admitted.client_isn,
            options: admitted.options,
            promised_scale: admitted.options.window_scale.map(|_| listening.promise.scale),
            protocol: match listening.protocol {
                config::Protocol::Tls => Protocol::Tls,
                config::Protocol::Postgres => Protocol::Postgres,
            },
            default_host: listening.default_host.clone(),
        }))
    }
}

/// Of a device that is not there, the least is assumed.
fn mtu(device: Option<&Interface>) -> u32 {
    device.and_then(|device| device.mtu).unwrap_or(IPV6_LEAST_MTU)
}

/// RFC 9293 §3.10.7.1: what the sender of a stray segment takes for an answer. None for a reset.
fn reset_for(segment: &Segment) -> Option<Segment> {
    if segment.has(Flags::RST) {
        return None;
    }
    if segment.has(Flags::ACK) {
        return Some(Segment::reset(segment.ack, None).stamped(segment.mirrored_timestamps()));
    }
    let control = u32::from(segment.has(Flags::SYN)) + u32::from(segment.has(Flags::FIN));
    Some(Segment::reset(Seq(0), Some(segment.end().plus(control))))
}

fn backend_key(packet: &Addressed<SocketAddrV6>) -> BackendKey {
    BackendKey::new(
        packet.source.ip().octets(),
        packet.source.port().to_be_bytes(),
        packet.destination.ip().octets(),
        packet.destination.port().to_be_bytes(),
    )
}
