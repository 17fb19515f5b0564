//! The maps behind the programs, each with the few things that are done to it.

mod counters;
mod debts;
mod devices;
mod flows;
mod listeners;
mod marks;
mod next_hops;
mod policy;
mod prefixes;
mod secrets;

use anyhow::Result;
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use ingress_common::maps::Route;
use ipnet::{Ipv4Net, Ipv6Net};

pub use counters::Counters;
pub use debts::Debts;
pub use devices::{Devices, SiteNames};
pub use flows::{FlowMaps, host, host_name};
pub use listeners::Listeners;
pub use marks::Marks;
pub use next_hops::NextHops;
pub use policy::{PolicyTables, remembered};
pub use secrets::{Heartbeat, Secrets};

use super::take;
use prefixes::Prefixes;

/// What IPv6 addresses are.
pub type Routes = Prefixes<Ipv6Net, Route>;
/// The number of the router that is in front of an IPv4 client.
pub type Routes4 = Prefixes<Ipv4Net, u32>;

/// Every map, in groups for those who own them.
pub struct Tables {
    /// What the reconciler writes.
    pub network: NetworkTables,
    /// What the engine reads and writes.
    pub handshakes: HandshakeTables,
    /// `DROPS`, `COOKIES`, `TRAFFIC`.
    pub counters: Counters,
}

/// The maps that are made to match the network and the configuration.
pub struct NetworkTables {
    /// `UPLINK`, `SITES`.
    pub devices: Devices,
    /// `SITE_NAMES`.
    pub site_names: SiteNames,
    /// `ROUTES`.
    pub routes: Routes,
    /// `NEXT_HOPS`.
    pub next_hops: NextHops,
    /// `ROUTES4`.
    pub routes4: Routes4,
    /// `LISTENERS`.
    pub listeners: Listeners,
    /// `POLICY` and its tries.
    pub policy: PolicyTables,
}

/// The maps that handshakes read and write, with what keeps the programs answering.
pub struct HandshakeTables {
    /// `UPCALLS`.
    pub upcalls: RingBuf<MapData>,
    /// `PENDING`, `EXPECTED`.
    pub marks: Marks,
    /// `DEBTS`.
    pub debts: Debts,
    /// `SECRETS`, `HEARTBEAT`.
    pub secrets: Secrets,
    /// `FLOWS`, `RETURNS`, `HOSTS`.
    pub flows: FlowMaps,
}

impl Tables {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            network: NetworkTables {
                devices: Devices::take(ebpf)?,
                site_names: SiteNames::take(ebpf)?,
                routes: Routes::take(ebpf, "ROUTES")?,
                next_hops: NextHops::take(ebpf)?,
                routes4: Routes4::take(ebpf, "ROUTES4")?,
                listeners: Listeners::take(ebpf)?,
                policy: PolicyTables::take(ebpf)?,
            },
            handshakes: HandshakeTables {
                upcalls: RingBuf::try_from(take(ebpf, "UPCALLS")?)?,
                marks: Marks::take(ebpf)?,
                debts: Debts::take(ebpf)?,
                secrets: Secrets::take(ebpf)?,
                flows: FlowMaps::take(ebpf)?,
            },
            counters: Counters::take(ebpf)?,
        })
    }
}
