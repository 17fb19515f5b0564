//! A whole scrape.

use std::collections::BTreeSet;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::control::{Attachment, Count, Direction, DropCount, Interface, Path, Traffic};

struct Fixed;

impl Source for Fixed {
    fn sample(&self) -> Sample {
        let traffic =
            Traffic { path: Path::Nat46, direction: Direction::Out, packets: 3, bytes: 4000 };
        Sample {
            stats: Stats {
                traffic: vec![traffic],
                flows_opened: 7,
                flows_closed: vec![Count::new("finished", 5), Count::new("idle", 0)],
                syn_cookies: vec![Count::new("sent", 9)],
                handshakes: vec![Count::new("established", 7), Count::new("no_name", 0)],
                dns_lookups: Vec::new(),
            },
            drops: Drops {
                drops: vec![DropCount {
                    reason: "bad_cookie".into(),
                    description: "A segment without a valid cookie".into(),
                    count: 2,
                }],
            },
            flows: vec![FlowCount {
                protocol: Protocol::Tls,
                state: FlowState::Established,
                count: 2,
            }],
            flow_table: FlowTable { entries: 2, max_entries: 1024 },
            sites: vec![SiteStatus {
                name: "home".to_owned(),
                interface: Interface {
                    name: "wg0".to_owned(),
                    index: Some(3),
                    mtu: Some(1420),
                    attachment: Attachment::Tcx,
                },
                prefixes: Vec::new(),
                wireguard: true,
                last_handshake_timestamp_seconds: Some(1_700_000_000),
            }],
            config_last_reload_successful: true,
        }
    }

    fn page(&self) -> Page {
        let sample = self.sample();
        Page {
            uptime: Duration::from_secs(1),
            last_reload: crate::control::Reload { timestamp_seconds: 0, error: None },
            uplink: sample.sites[0].interface.clone(),
            sites: sample.sites,
            flow_table: sample.flow_table,
            hosts: Vec::new(),
            series: Vec::new(),
            drops: sample.drops,
            refusals: Vec::new(),
        }
    }
}

async fn get(path: &str, accept: &str) -> String {
    let dns = dns::Metrics::default();
    let handshakes = HandshakeSeconds::default();
    handshakes.observe(Duration::from_millis(30));
    let registry = registry(Arc::new(Fixed), &dns, &handshakes);
    let server =
        Server::bind("127.0.0.1:0".parse().unwrap(), registry, Arc::new(Fixed)).await.unwrap();
    let address = server.address().unwrap();
    tokio::spawn(server.serve());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn every_name_of_the_interface_is_there() {
    let response = get("/metrics", "application/openmetrics-text;version=1.0.0,text/plain").await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let content_type = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(content_type), "{head}");
    assert!(body.ends_with("# EOF\n"));
    for line in [
        r#"ingress_packets_total{path="nat46",direction="out"} 3"#,
        r#"ingress_packets_total{path="ipv6",direction="in"} 0"#,
        r#"ingress_bytes_total{path="nat46",direction="out"} 4000"#,
        r#"ingress_drops_total{reason="bad_cookie"} 2"#,
        r#"ingress_flows{protocol="tls",state="established"} 2"#,
        r#"ingress_flows{protocol="postgres",state="handshake"} 0"#,
        "ingress_flow_table_entries 2",
        "ingress_flow_table_max_entries 1024",
        "ingress_flows_opened_total 7",
        r#"ingress_flows_closed_total{cause="idle"} 0"#,
        r#"ingress_syn_cookies_total{result="sent"} 9"#,
        r#"ingress_handshakes_total{outcome="no_name"} 0"#,
        r#"ingress_handshake_seconds_bucket{le="0.05"} 1"#,
        r#"ingress_dns_lookups_total{result="not_found"} 0"#,
        "ingress_dns_lookup_seconds_count 0",
        r#"ingress_peer_last_handshake_timestamp_seconds{site="home"} 1700000000"#,
        r#"ingress_tunnel_mtu_bytes{site="home"} 1420"#,
        "ingress_config_last_reload_successful 1",
        concat!("ingress_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(body.lines().any(|got| got == line), "{line} is missing in\n{body}");
    }
    let types = body.lines().filter(|line| line.starts_with("# TYPE"));
    let names: Vec<_> = types.collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:#?}");
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let page = get("/", "*/*").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("content-type: text/html"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    assert!(page.contains("A segment without a valid cookie"), "{page}");
    assert!(get("/metric", "*/*").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_classic_format_is_spoken_too() {
    let response = get("/metrics", "*/*").await;
    assert!(response.contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    assert!(response.contains("\n# TYPE ingress_packets_total counter\ningress_packets_total{"));
    assert!(!response.contains("# EOF"));
}
