//! The control protocol: requests are read as they were written, and a filter takes any flow.

use std::net::{SocketAddrV4, SocketAddrV6};

use ingress::config::Protocol;
use ingress::control::{Filter, Flow, FlowState, Request, Response};

/// A line.
pub fn run(input: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(input) {
        let line = serde_json::to_vec(&request).expect("what was read can be written");
        assert!(!line.contains(&b'\n'), "a request is one line");
        let again: Request = serde_json::from_slice(&line).expect("what was written can be read");
        assert_eq!(again, request);
        if let Request::Flows { filter } | Request::Kill { filter } = request {
            passes(&filter);
        }
    }
    if let Ok(response) = serde_json::from_slice::<Response>(input) {
        let line = serde_json::to_vec(&response).expect("what was read can be written");
        assert!(!line.contains(&b'\n'), "a response is one line");
        serde_json::from_slice::<Response>(&line).expect("what was written can be read");
    }
}

fn passes(filter: &Filter) {
    let named = flow(Some("www.example.org"));
    assert!(!filter.is_empty() || filter.matches(&named) && filter.matches(&flow(None)));
    assert!(filter.host.is_none() || !filter.matches(&flow(None)), "a flow without a name");
}

fn flow(host: Option<&str>) -> Flow {
    Flow {
        protocol: Protocol::Tls,
        client: SocketAddrV4::new([192, 0, 2, 7].into(), 50_000),
        listen: SocketAddrV4::new([198, 51, 100, 1].into(), 443),
        host: host.map(str::to_owned),
        site: host.map(|_| "home".to_owned()),
        backend: host.map(|_| SocketAddrV6::new(1.into(), 443, 0, 0)),
        nat46_source: 2.into(),
        state: FlowState::Established,
        age_seconds: 60,
        idle_seconds: 1,
        packets_in: 10,
        packets_out: 20,
        bytes_in: 1000,
        bytes_out: 20_000,
    }
}
