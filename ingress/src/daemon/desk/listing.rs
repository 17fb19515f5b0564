//! The flows: those in the kernel's maps, and those in the engine's hands. And what a policy remembers.

use std::time::Duration;

use anyhow::Result;

use super::super::{clock::boot_nanos, engine::Handshake, shared::Shared};
use crate::{
    control::{Connections, Flow, FlowState},
    dataplane::{FlowMaps, Pins, remembered},
    flows,
};

pub(super) fn open_maps(shared: &Shared) -> Result<FlowMaps> {
    FlowMaps::open(Pins::open(&shared.config().daemon.bpffs)?.maps())
}

pub(super) fn established(shared: &Shared) -> Result<Vec<Flow>> {
    let maps = open_maps(shared)?;
    let (names, applied) = (maps.names(), shared.applied());
    let now = boot_nanos();
    let since = |then: u64| Duration::from_nanos(now.saturating_sub(then)).as_secs();
    let flow = |flow: flows::Flow| Flow {
        protocol: applied.protocol(flow.tuple.listen),
        client: flow.tuple.client,
        listen: flow.tuple.listen,
        host: names.get(&flow.to_backend.host).cloned(),
        site: applied.site(flow.to_backend.site).map(|site| site.name.clone()),
        backend: Some(flow.backend()),
        nat46_source: flow.to_backend.source.into(),
        state: flow.state(),
        age_seconds: since(flow.to_backend.opened),
        idle_seconds: since(flow.last_seen()),
        packets_in: flow.to_backend.packets,
        packets_out: flow.to_client.map_or(0, |half| half.packets),
        bytes_in: flow.to_backend.bytes,
        bytes_out: flow.to_client.map_or(0, |half| half.bytes),
    };
    Ok(maps.flows().map(flow).collect())
}

pub(super) fn from_inside(shared: &Shared) -> Result<Connections> {
    let pins = Pins::open(&shared.config().daemon.bpffs)?;
    Ok(Connections::at(boot_nanos(), &remembered(pins.maps())?))
}

pub(super) fn in_progress(shared: &Shared, handshake: &Handshake) -> Flow {
    let (config, applied) = (shared.config(), shared.applied());
    let backend = handshake.backend.as_ref();
    let site = backend.and_then(|backend| applied.site(backend.site));
    let tuple = handshake.tuple;
    Flow {
        protocol: applied.protocol(tuple.listen),
        client: tuple.client,
        listen: tuple.listen,
        host: handshake.host.clone(),
        site: site.map(|site| site.name.clone()),
        backend: backend.map(|backend| backend.address),
        nat46_source: config.nat46.embed(tuple.client.ip().octets()).into(),
        state: FlowState::Handshake,
        age_seconds: handshake.age.as_secs(),
        idle_seconds: 0,
        packets_in: 0,
        packets_out: 0,
        bytes_in: 0,
        bytes_out: 0,
    }
}
