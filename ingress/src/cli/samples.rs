//! What the tests of several views show.

use crate::{
    config::Protocol,
    control::{Flow, FlowState},
};

/// A flow to a name, or a handshake that has none yet.
pub fn flow(client: &str, host: Option<&str>, age_seconds: u64, bytes_out: u64) -> Flow {
    Flow {
        protocol: Protocol::Tls,
        client: client.parse().unwrap(),
        listen: "198.51.100.1:443".parse().unwrap(),
        host: host.map(str::to_owned),
        site: host.map(|_| "home".to_owned()),
        backend: host.map(|_| "[2001:db8::9]:443".parse().unwrap()),
        nat46_source: "64:ff9b:1::c000:207".parse().unwrap(),
        state: if host.is_some() { FlowState::Established } else { FlowState::Handshake },
        age_seconds,
        idle_seconds: 0,
        packets_in: 1,
        packets_out: 1,
        bytes_in: 100,
        bytes_out,
    }
}
