//! How the daemon is: interfaces, sites, listeners, policy, flow table.

use std::{borrow::Cow, fmt, net::SocketAddrV4, path::PathBuf};

use ingress_common::maps::Offer;
use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::config::{Ipv6Policy, Policy, Protocol};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of ingressd.
    pub version: Cow<'static, str>,
    /// Process id of ingressd.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Its configuration file.
    pub config: PathBuf,
    /// When it last read the configuration, and what came of it.
    pub last_reload: Reload,
    /// The side of the world.
    pub uplink: Interface,
    /// Whether SYNs are answered at XDP there.
    pub shield: Shield,
    /// Whether it was to be in native mode, which was given up: what it answers does not get out by the uplink.
    #[serde(default)]
    pub native_is_lost: bool,
    /// The homes with their tunnels.
    pub sites: Vec<SiteStatus>,
    /// Where backends see IPv4 clients.
    pub nat46_prefix: Ipv6Net,
    /// What clients can connect to.
    pub listen: Vec<Listener>,
    /// Who may reach the sites.
    #[serde(default)]
    pub policy: PolicyStatus,
    /// How full the flow table is.
    pub flow_table: FlowTable,
    /// Connections whose backend has not answered yet.
    pub handshakes_in_progress: u64,
    /// Seconds since the daemon last told the programs that it lives; they stop answering SYNs when it grows old.
    pub heartbeat_age_seconds: f64,
}

/// The last attempt to apply a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// When, as a Unix time.
    pub timestamp_seconds: u64,
    /// Why the configuration was refused, in which case the one before is still in force.
    pub error: Option<String>,
}

/// A network interface of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index, if it exists.
    pub index: Option<u32>,
    /// Its MTU, if it exists.
    pub mtu: Option<u32>,
    /// How the program is attached to it.
    pub attachment: Attachment,
}

/// How a program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attachment {
    /// By a tcx link, from Linux 6.6 on.
    Tcx,
    /// By a filter of the clsact qdisc.
    Clsact,
    /// Not at all: the interface does not exist, or the kernel refused (the log says why).
    None,
}

impl Attachment {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::None => "not attached",
        }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where SYNs to listed ports are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shield {
    /// At tc, with everything else.
    #[default]
    Off,
    /// By the XDP program, in the driver.
    Native,
    /// By the XDP program, in the kernel's generic hook.
    Generic,
}

impl Shield {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// A home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// The operator's name for it.
    pub name: String,
    /// The tunnel to it.
    pub interface: Interface,
    /// What lies behind it.
    pub prefixes: Vec<Ipv6Net>,
    /// Whether the tunnel is WireGuard.
    #[serde(default)]
    pub wireguard: bool,
    /// When WireGuard last heard of its peer, as a Unix time; none if never, or if this is not WireGuard.
    pub last_handshake_timestamp_seconds: Option<u64>,
}

/// A port that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The address and port.
    pub address: SocketAddrV4,
    /// What clients speak there.
    pub protocol: Protocol,
    /// Whether clients are promised timestamps.
    #[serde(default)]
    pub timestamps: Promised,
    /// Whether clients are promised SACK.
    #[serde(default)]
    pub sack: Promised,
    /// The MSS that clients are promised.
    #[serde(default)]
    pub mss: u16,
    /// Whether it is that of a backend, and less than the devices carry.
    #[serde(default)]
    pub mss_lowered: bool,
}

/// Whether an option is promised to clients that offer it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promised {
    /// It is promised.
    Yes,
    /// The configuration does not want it.
    #[default]
    Off,
    /// Not any more, since a backend lacks it; `reload` tries again.
    Withdrawn,
}

impl From<Offer> for Promised {
    fn from(offer: Offer) -> Self {
        match offer {
            Offer::On => Self::Yes,
            Offer::Off => Self::Off,
            Offer::Withdrawn => Self::Withdrawn,
        }
    }
}

/// The policy in short: how many entries each list has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Whether IPv6 from outside needs a rule.
    pub ipv6: Ipv6Policy,
    /// The rules.
    pub allow: usize,
    /// Clients that may not.
    pub deny_clients: usize,
    /// Clients that may, if only these.
    pub allow_clients: usize,
    /// Names that lead nowhere.
    pub deny_names: usize,
    /// Names that lead somewhere, if only these.
    pub allow_names: usize,
}

impl From<&Policy> for PolicyStatus {
    fn from(policy: &Policy) -> Self {
        let Policy { ipv6, deny_clients, allow_clients, deny_names, allow_names, allow } = policy;
        Self {
            ipv6: *ipv6,
            allow: allow.len(),
            deny_clients: deny_clients.len(),
            allow_clients: allow_clients.len(),
            deny_names: deny_names.len(),
            allow_names: allow_names.len(),
        }
    }
}

/// How full the flow table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTable {
    /// Flows in it.
    pub entries: u64,
    /// Flows that fit.
    pub max_entries: u64,
}
