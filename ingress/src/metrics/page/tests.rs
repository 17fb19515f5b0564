//! A page with everything on it.

use super::*;
use crate::control::DropCount;

fn page() -> Page {
    let interface = |name: &str, mtu| Interface {
        name: name.to_owned(),
        index: Some(2),
        mtu,
        attachment: if mtu.is_some() { Attachment::Tcx } else { Attachment::None },
    };
    Page {
        uptime: Duration::from_secs(61),
        last_reload: Reload {
            timestamp_seconds: 0,
            error: Some("ingress.toml:3: \"x\"".to_owned()),
        },
        uplink: interface("eth0", Some(1500)),
        sites: vec![SiteStatus {
            name: "home".to_owned(),
            interface: interface("wg0", None),
            prefixes: vec!["2001:db8::/64".parse().unwrap()],
            wireguard: true,
            last_handshake_timestamp_seconds: None,
        }],
        flow_table: FlowTable { entries: 2, max_entries: 1024 },
        hosts: vec![HostFlows {
            host: "www.example.org".to_owned(),
            flows: 2,
            bytes_in: 10,
            bytes_out: 5000,
        }],
        series: vec![Series {
            title: "IPv4 out",
            unit: Unit::Bytes,
            points: vec![0.0, 2000.0, 1000.0],
        }],
        drops: Drops {
            drops: vec![DropCount {
                reason: "hop_limit".into(),
                description: "The hop limit was used up".into(),
                count: 3,
            }],
        },
        refusals: vec![Refused {
            name: Some("<script>alert(1)</script>".to_owned()),
            outcome: "unknown_name",
            count: 4,
            ago: Duration::from_secs(5),
        }],
    }
}

#[test]
fn everything_is_there_and_nothing_is_fetched() {
    let html = page().html();
    for needed in [
        "up</dt><dd>1m01s",
        "2 <small>of 1024</small>",
        "refused",
        "ingress.toml:3: &quot;x&quot;",
        "eth0 <small>tcx, MTU 1500</small>",
        "wg0 does not exist",
        "never",
        "2001:db8::/64",
        "www.example.org",
        "5.0 kB",
        "1.0 kB/s",
        "at most 2.0 kB/s",
        "<svg",
        "unknown name",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "The hop limit was used up",
        "prefers-color-scheme:dark",
    ] {
        assert!(html.contains(needed), "{needed} is missing in\n{html}");
    }
    for unwanted in ["<script", "src=", "http://", "https://", "url(", "@import"] {
        assert!(!html.contains(unwanted), "{unwanted} in\n{html}");
    }
}

#[test]
fn an_idle_machine_has_a_page_too() {
    let idle = Page {
        sites: Vec::new(),
        hosts: Vec::new(),
        series: Vec::new(),
        drops: Drops::default(),
        refusals: Vec::new(),
        ..page()
    };
    let html = idle.html();
    assert!(html.contains("no flows") && html.contains("nothing was refused"), "{html}");
}
