//! A flow as operators see it, and which flows they mean.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddrV4, SocketAddrV6},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::Protocol;

/// What `ingressctl flows -o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// Version of this format: [`Flows::VERSION`].
    pub version: u32,
    /// In no particular order.
    pub flows: Vec<Flow>,
}

/// One connection of an IPv4 client. "In" is from the client to the backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// What the client speaks.
    pub protocol: Protocol,
    /// Where it comes from.
    pub client: SocketAddrV4,
    /// Where it connected to.
    pub listen: SocketAddrV4,
    /// The name that it asked for, once known.
    pub host: Option<String>,
    /// Where its server stands, once known.
    pub site: Option<String>,
    /// Its server, once known.
    pub backend: Option<SocketAddrV6>,
    /// The client's address as the server sees it.
    pub nat46_source: Ipv6Addr,
    /// How far it is.
    pub state: FlowState,
    /// Seconds since its first packet with data.
    pub age_seconds: u64,
    /// Seconds since its last packet.
    pub idle_seconds: u64,
    /// Packets from client to backend.
    pub packets_in: u64,
    /// Packets from backend to client.
    pub packets_out: u64,
    /// Bytes from client to backend.
    pub bytes_in: u64,
    /// Bytes from backend to client.
    pub bytes_out: u64,
}

/// How far a flow is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum FlowState {
    /// The daemon is busy with it.
    Handshake,
    /// The kernel carries it.
    Established,
    /// One side has closed or reset it.
    Closing,
}

/// Which flows are meant: those that pass every part that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// The name, or with `*.` before it every name below.
    pub host: Option<String>,
    /// The client lies in here.
    pub client: Option<IpNet>,
    /// The backend lies in here.
    pub backend: Option<IpNet>,
    /// The site's name.
    pub site: Option<String>,
    /// The state.
    pub state: Option<FlowState>,
}

impl Flows {
    /// Changes only if a field goes or means something else.
    pub const VERSION: u32 = 1;
}

impl From<Vec<Flow>> for Flows {
    fn from(flows: Vec<Flow>) -> Self {
        Self { version: Self::VERSION, flows }
    }
}

impl FlowState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Handshake, Self::Established, Self::Closing];

    /// The name in answers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Established => "established",
            Self::Closing => "closing",
        }
    }
}

impl fmt::Display for FlowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Filter {
    /// Whether every flow passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a flow passes.
    pub fn matches(&self, flow: &Flow) -> bool {
        let passes_host =
            self.host.as_deref().is_none_or(|pattern| is_host(pattern, flow.host.as_deref()));
        let passes_client =
            self.client.is_none_or(|net| net.contains(&IpAddr::V4(*flow.client.ip())));
        let passes_backend = self.backend.is_none_or(|net| {
            flow.backend.is_some_and(|backend| net.contains(&IpAddr::V6(*backend.ip())))
        });
        let passes_site = self.site.is_none() || self.site == flow.site;
        let passes_state = self.state.is_none_or(|state| state == flow.state);
        passes_host && passes_client && passes_backend && passes_site && passes_state
    }
}

fn is_host(pattern: &str, host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    let pattern = pattern.to_ascii_lowercase();
    let pattern = pattern.strip_suffix('.').unwrap_or(&pattern);
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')),
        None => host == pattern,
    }
}

/// A network, or an address as the network of itself alone.
pub fn network(text: &str) -> Result<IpNet, String> {
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.parse()
        .or_else(|_| address.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "an address, or a prefix as in 192.0.2.0/24".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        Flow {
            protocol: Protocol::Tls,
            client: "192.0.2.7:50000".parse().unwrap(),
            listen: "198.51.100.1:443".parse().unwrap(),
            host: Some("www.example.org".to_owned()),
            site: Some("home".to_owned()),
            backend: Some("[2001:db8::9]:443".parse().unwrap()),
            nat46_source: "64:ff9b:1::c000:207".parse().unwrap(),
            state: FlowState::Established,
            age_seconds: 60,
            idle_seconds: 1,
            packets_in: 10,
            packets_out: 20,
            bytes_in: 1000,
            bytes_out: 20000,
        }
    }

    #[test]
    fn the_format_is_the_published_one() {
        let json = serde_json::to_string(&Flows::from(vec![flow()])).unwrap();
        let expected = r#"{"version":1,"flows":[{"protocol":"tls","client":"192.0.2.7:50000",
            "listen":"198.51.100.1:443","host":"www.example.org","site":"home",
            "backend":"[2001:db8::9]:443","nat46_source":"64:ff9b:1::c000:207",
            "state":"established","age_seconds":60,"idle_seconds":1,"packets_in":10,
            "packets_out":20,"bytes_in":1000,"bytes_out":20000}]}"#;
        assert_eq!(json, expected.replace(['\n', ' '], ""));
        assert_eq!(serde_json::from_str::<Flows>(&json).unwrap().flows, [flow()]);
    }

    #[test]
    fn a_flow_passes_only_what_it_is() {
        let host = |host: &str| Filter { host: Some(host.to_owned()), ..Filter::default() };
        assert!(Filter::default().is_empty() && Filter::default().matches(&flow()));
        for (filter, passes) in [
            (host("WWW.example.org."), true),
            (host("*.example.org"), true),
            (host("*.ww.example.org"), false),
            (host("example.org"), false),
            (Filter { client: network("192.0.2.0/24").ok(), ..Filter::default() }, true),
            (Filter { client: network("192.0.2.8").ok(), ..Filter::default() }, false),
            (Filter { backend: network("[2001:db8::9]").ok(), ..Filter::default() }, true),
            (Filter { backend: network("192.0.2.7").ok(), ..Filter::default() }, false),
            (Filter { site: Some("office".to_owned()), ..Filter::default() }, false),
            (Filter { state: Some(FlowState::Closing), ..Filter::default() }, false),
        ] {
            assert_eq!(filter.matches(&flow()), passes, "{filter:?}");
            let unknown = Flow { host: None, site: None, backend: None, ..flow() };
            assert!(!filter.matches(&unknown) || filter.client.is_some(), "{filter:?}");
        }
    }
}
