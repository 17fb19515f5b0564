//! The configuration file: parsed, checked as a whole, with errors that name line and remedy.
//!
//! A [`Config`] is made of validated types only, so nothing behind this room checks again, and it compares
//! for equality so that a reload can tell what changed.

mod advice;
mod check;
mod error;
mod name;
mod policy;
mod prefix;
mod raw;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use ingress_common::addr::Nat46Prefix;
use ipnet::Ipv6Net;

use crate::host_name::HostName;

pub use error::{ConfigError, Problem};
pub use name::{InterfaceName, host_name};
pub use policy::{Allow, AllowedService, Ipv6Policy, NamePattern, Policy, Ruling};
pub use prefix::network_of;

/// Where the configuration lies unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/ingress/ingress.toml";
/// Where the control socket lies unless `[control] socket` says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ingress/control.sock";

/// The longest `[dns] timeout`.
pub const LONGEST_DNS_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything the operator decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The side of the world.
    pub uplink: Uplink,
    /// The homes; never empty, names, interfaces and prefixes are disjoint.
    pub sites: Vec<Site>,
    /// Where backends see IPv4 clients.
    pub nat46: Nat46Prefix,
    /// What is listened on over IPv4; never empty, no port twice on one address.
    pub listen: Vec<Listen>,
    /// How names are looked up.
    pub dns: Dns,
    /// Names that need no DNS; every address lies inside a site.
    pub hosts: BTreeMap<HostName, Vec<Ipv6Addr>>,
    /// Who may reach the sites.
    pub policy: Policy,
    /// The Prometheus endpoint.
    pub metrics: Metrics,
    /// The control socket.
    pub control: Control,
    /// The daemon's own resources.
    pub daemon: Daemon,
}

/// The interface towards the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub interface: InterfaceName,
    /// Whether `shield` stands in front of it.
    pub xdp: Xdp,
}

/// How `shield` is attached to the uplink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Xdp {
    /// Never.
    #[default]
    Off,
    /// In the driver.
    Native,
    /// In the kernel's generic hook, for drivers without XDP.
    Generic,
    /// Engaged while a SYN flood lasts.
    Auto,
}

/// A home and the tunnel to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The operator's name for it; the `site` label and column.
    pub name: String,
    /// Its tunnel.
    pub interface: InterfaceName,
    /// What lies behind the tunnel; never empty.
    pub prefixes: Vec<Ipv6Net>,
}

/// Ports that IPv4 clients may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Never empty.
    pub ports: Vec<NonZeroU16>,
    /// What clients speak there.
    pub protocol: Protocol,
    /// The local addresses; empty means every IPv4 address of the uplink.
    pub addresses: Vec<Ipv4Addr>,
    /// Where clients without a server name go; without it they are refused.
    pub default_host: Option<HostName>,
    /// Whether clients are promised timestamps (RFC 7323), as far as backends have them.
    pub timestamps: bool,
}

/// What precedes, or is, the ClientHello.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TLS from the first byte.
    #[default]
    Tls,
    /// PostgreSQL: SSLRequest first, or TLS at once.
    Postgres,
}

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The servers to ask; empty means those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// How long a client waits for an answer.
    pub timeout: Duration,
}

/// The Prometheus endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens; without it there is none.
    pub listen: Option<SocketAddr>,
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its absolute path.
    pub socket: PathBuf,
}

/// The daemon's own resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Where maps and links are pinned.
    pub bpffs: PathBuf,
    /// The most flows there can be at a time.
    pub flows: u32,
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let octets = std::fs::read(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let name = path.display().to_string();
        let text = String::from_utf8(octets).map_err(|error| ConfigError::Invalid {
            name: name.clone(),
            problems: vec![Problem::not_utf8(&error)],
        })?;
        Self::parse(&text, &name)
    }

    /// Checks a text; `name` is what errors call it.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        raw::parse(text)
            .map_err(|problem| vec![problem])
            .and_then(|raw| check::check(raw, text))
            .map_err(|problems| ConfigError::Invalid { name: name.to_owned(), problems })
    }
}

impl Site {
    /// Whether an address lies behind this site's tunnel.
    pub fn owns(&self, address: Ipv6Addr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(&address))
    }
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tls, Self::Postgres];

    /// The name in the configuration, in answers and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Postgres => "postgres",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
