//! One sample as metrics.

use std::{
    fmt::{self, Error},
    sync::Arc,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{Sample, Source};
use crate::{
    config::Protocol,
    control::{Count, Direction, FlowState, Path, Traffic},
};

pub(super) struct Kernel<S>(pub Arc<S>);

impl<S> fmt::Debug for Kernel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kernel")
    }
}

impl<S: Source> Collector for Kernel<S> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let sample = self.0.sample();
        let mut out = Out(encoder);
        out.traffic(&sample.stats.traffic)?;
        out.drops(&sample)?;
        out.flows(&sample)?;
        out.handshakes(&sample)?;
        out.sites(&sample)?;
        out.daemon(&sample)
    }
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn traffic(&mut self, traffic: &[Traffic]) -> Result<(), Error> {
        let of = |path, direction| {
            traffic.iter().find(|traffic| traffic.path == path && traffic.direction == direction)
        };
        let every = [Path::Ipv6, Path::Nat46]
            .map(|path| [(path, Direction::In), (path, Direction::Out)])
            .concat();
        let labels = |path: Path, direction: Direction| {
            [("path", path.as_str()), ("direction", direction.as_str())]
        };
        let mut packets = self.counters("packets", "Packets forwarded, as on the wire")?;
        for &(path, direction) in &every {
            let value = of(path, direction).map_or(0, |traffic| traffic.packets);
            count(&mut packets, &labels(path, direction), value)?;
        }
        let mut bytes = self.counters("bytes", "Bytes forwarded, from the IP header on")?;
        for &(path, direction) in &every {
            let value = of(path, direction).map_or(0, |traffic| traffic.bytes);
            count(&mut bytes, &labels(path, direction), value)?;
        }
        Ok(())
    }

    fn drops(&mut self, sample: &Sample) -> Result<(), Error> {
        let mut drops = self.counters("drops", "Packets dropped; `ingressctl drops` explains")?;
        for drop in &sample.drops.drops {
            count(&mut drops, &[("reason", &*drop.reason)], drop.count)?;
        }
        Ok(())
    }

    fn flows(&mut self, sample: &Sample) -> Result<(), Error> {
        let mut flows = self.gauges("flows", "Connections of IPv4 clients")?;
        for protocol in Protocol::ALL {
            for state in FlowState::ALL {
                let value = sample
                    .flows
                    .iter()
                    .filter(|flows| flows.protocol == protocol && flows.state == state)
                    .map(|flows| flows.count)
                    .sum();
                let labels = [("protocol", protocol.as_str()), ("state", state.as_str())];
                gauge(&mut flows, &labels, value)?;
            }
        }
        let table = sample.flow_table;
        self.gauge("flow_table_entries", "Flows in the kernel's table", table.entries)?;
        self.gauge("flow_table_max_entries", "Flows that fit there", table.max_entries)?;
        let mut opened = self.counters("flows_opened", "Flows handed to the kernel")?;
        opened.encode_counter::<NoLabelSet, u64, u64>(&sample.stats.flows_opened, None)?;
        self.counts("flows_closed", "Flows that ended", "cause", &sample.stats.flows_closed)
    }

    fn handshakes(&mut self, sample: &Sample) -> Result<(), Error> {
        let stats = &sample.stats;
        self.counts("syn_cookies", "SYN cookies sent and checked", "result", &stats.syn_cookies)?;
        self.counts("handshakes", "Handshakes that ended", "outcome", &stats.handshakes)
    }

    fn sites(&mut self, sample: &Sample) -> Result<(), Error> {
        let mut handshakes = self.gauges(
            "peer_last_handshake_timestamp_seconds",
            "When WireGuard last heard of the site",
        )?;
        for site in &sample.sites {
            // 0 for a peer that was never heard of; nothing for a tunnel that is not WireGuard.
            if site.wireguard {
                let time = site.last_handshake_timestamp_seconds.unwrap_or(0);
                gauge(&mut handshakes, &[("site", &*site.name)], time)?;
            }
        }
        let mut mtus = self.gauges("tunnel_mtu_bytes", "The tunnel's MTU")?;
        for site in &sample.sites {
            if let Some(mtu) = site.interface.mtu {
                gauge(&mut mtus, &[("site", &*site.name)], mtu.into())?;
            }
        }
        Ok(())
    }

    fn daemon(&mut self, sample: &Sample) -> Result<(), Error> {
        let successful = u64::from(sample.config_last_reload_successful);
        let help = "Whether the last configuration was taken";
        self.gauge("config_last_reload_successful", help, successful)?;
        // Not the type `info`: the classic text parsers, promtool's among them, do not know it.
        let mut build = self.gauges("build_info", "The build of ingressd")?;
        gauge(&mut build, &[("version", env!("CARGO_PKG_VERSION"))], 1)
    }

    fn counts(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: &[Count],
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for Count { name, count: value } in counts {
            count(&mut family, &[(label, &**name)], *value)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counters<'s>(&'s mut self, name: &'s str, help: &str) -> Result<MetricEncoder<'s>, Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Counter)
    }

    fn gauges<'s>(&'s mut self, name: &'s str, help: &str) -> Result<MetricEncoder<'s>, Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)
    }
}

fn count(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> Result<(), Error> {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

fn gauge(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> Result<(), Error> {
    family.encode_family(labels)?.encode_gauge(&value)
}
