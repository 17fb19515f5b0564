//! What is known of names without asking anybody.

use std::net::{Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Names with their addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// The servers that are asked.
    pub servers: Vec<SocketAddr>,
    /// What is known without asking.
    pub names: Vec<DnsName>,
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsName {
    /// The name.
    pub name: String,
    /// Who says so.
    pub source: DnsSource,
    /// Its addresses; none if it has none.
    pub addresses: Vec<Ipv6Addr>,
    /// Why it has none.
    pub error: Option<String>,
    /// How long that holds; none means for ever.
    pub ttl_seconds: Option<u64>,
}

/// Who knows an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsSource {
    /// The configuration.
    Hosts,
    /// A DNS server.
    Cache,
}

impl DnsSource {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Cache => "cache",
        }
    }
}
