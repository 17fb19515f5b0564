//! The entries of the table: their keys, and their values made from a splice.

use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};

use ingress_common::{
    checksum::Sum,
    maps::{BackendKey, ClientKey, ToBackend, ToClient},
    tcp::{DEFAULT_MSS_V6, Seq},
};

use super::Flow;
use crate::{
    handshake::{Backend, ClientTuple, Owed, Splice},
    host_name::HostName,
    icmp::Spliced,
};

/// The keys of both halves.
#[must_use]
pub fn keys(
    tuple: ClientTuple,
    backend: SocketAddrV6,
    source: Ipv6Addr,
) -> (ClientKey, BackendKey) {
    let client_port = tuple.client.port().to_be_bytes();
    let backend_key = BackendKey::new(
        backend.ip().octets(),
        backend.port().to_be_bytes(),
        source.octets(),
        client_port,
    );
    (client_key(tuple), backend_key)
}

/// The client's half of the key.
#[must_use]
pub fn client_key(tuple: ClientTuple) -> ClientKey {
    ClientKey::new(
        tuple.client.ip().octets(),
        tuple.client.port().to_be_bytes(),
        tuple.listen.ip().octets(),
        tuple.listen.port().to_be_bytes(),
    )
}

/// Whose key it is.
#[must_use]
pub fn tuple(key: &ClientKey) -> ClientTuple {
    let address = |ip: [u8; 4], port| SocketAddrV4::new(ip.into(), u16::from_be_bytes(port));
    ClientTuple {
        client: address(key.client, key.client_port),
        listen: address(key.listen, key.listen_port),
    }
}

pub(super) fn spliced(client: [u8; 4], listen: [u8; 4], half: &ToBackend) -> Spliced {
    let delta = u32::from_be_bytes(half.delta);
    let ts_delta = (half.timestamps != 0).then(|| u32::from_be_bytes(half.ts_delta));
    let (backend, source) = (half.backend, half.source);
    Spliced { client, listen, backend, source, delta, ts_delta, mss: half.mss() }
}

pub(super) fn return_key(key: &ClientKey, half: &ToBackend) -> BackendKey {
    BackendKey::new(half.backend, key.listen_port, half.source, key.client_port)
}

/// The other way round.
pub(super) fn flow_key(key: &BackendKey, half: &ToClient) -> ClientKey {
    ClientKey::new(half.client, key.client_port, half.listen, key.backend_port)
}

pub(super) fn to_backend(tuple: ClientTuple, splice: &Splice, host: u32, now: u64) -> ToBackend {
    let (backend, source) = (splice.backend.address.ip().octets(), splice.backend.source.octets());
    let change = v6_sum(&backend, &source).plus(Sum(u32::from(!v4_sum(tuple).fold())));
    ToBackend {
        packets: 0,
        bytes: 0,
        last_seen: now,
        opened: now,
        backend,
        source,
        delta: splice.delta().to_be_bytes(),
        reopened: [0; 4],
        host,
        address_change: change.fold(),
        site: splice.backend.site,
        expand: splice.expand(),
        closing: 0,
        timestamps: u8::from(splice.ts_delta.is_some()),
        announced_mss: ToBackend::encode_mss(splice.announced),
        ts_delta: splice.ts_delta.unwrap_or(0).to_be_bytes(),
    }
}

pub(super) fn to_client(tuple: ClientTuple, splice: &Splice, now: u64) -> ToClient {
    let (backend, source) = (splice.backend.address.ip().octets(), splice.backend.source.octets());
    let change = v4_sum(tuple).plus(Sum(u32::from(!v6_sum(&backend, &source).fold())));
    ToClient {
        packets: 0,
        bytes: 0,
        last_seen: now,
        client: tuple.client.ip().octets(),
        listen: tuple.listen.ip().octets(),
        delta: splice.delta().to_be_bytes(),
        watched: splice.watch.unwrap_or_default().0.to_be_bytes(),
        address_change: change.fold(),
        backend_scale: splice.backend_scale.unwrap_or(0),
        promised_scale: splice.promised_scale.unwrap_or(0),
        closing: 0,
        watching: u8::from(splice.watch.is_some()),
        timestamps: u8::from(splice.ts_delta.is_some()),
        reserved: 0,
        ts_delta: splice.ts_delta.unwrap_or(0).to_be_bytes(),
        reserved_too: [0; 4],
    }
}

/// The splice that these entries were made from, as far as they tell.
pub(super) fn splice(flow: &Flow, back: &ToClient, host: HostName, owed: &Owed) -> Splice {
    let there = &flow.to_backend;
    let delta = u32::from_be_bytes(there.delta);
    let scaled = there.expand == 0;
    let announced = there.mss().unwrap_or(u16::MAX);
    Splice {
        backend: Backend {
            address: flow.backend(),
            source: there.source.into(),
            site: there.site,
            // Its handshake is over.
            mss_limit: 0,
        },
        host,
        client_isn: owed.client_isn,
        cookie: owed.cookie,
        backend_isn: owed.cookie.minus(delta),
        promised_scale: Some(back.promised_scale),
        client_scale: (!scaled).then_some(there.expand),
        backend_scale: scaled.then_some(back.backend_scale),
        announced,
        // What the client announced is forgotten; this fits through any tunnel.
        mss: announced.min(DEFAULT_MSS_V6),
        ts_delta: (there.timestamps != 0).then(|| u32::from_be_bytes(there.ts_delta)),
        watch: Some(Seq(u32::from_be_bytes(back.watched))),
    }
}

fn v4_sum(tuple: ClientTuple) -> Sum {
    Sum::default().add4(tuple.client.ip().octets()).add4(tuple.listen.ip().octets())
}

fn v6_sum(backend: &[u8; 16], source: &[u8; 16]) -> Sum {
    Sum::default().add16(backend).add16(source)
}
