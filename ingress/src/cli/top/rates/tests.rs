//! Two moments of a small VPS.

use std::collections::VecDeque;

use super::{super::screen::Screen, *};
use crate::{
    cli::{samples::flow, sheet::Style},
    control::{Attachment, DropCount, Interface, PolicyStatus, Reload, Shield, Traffic},
};

fn moment(at: Instant, bytes: u64, refused: u64, flows: Vec<Flow>) -> Moment {
    let interface = |name: &str| Interface {
        name: name.to_owned(),
        index: Some(2),
        mtu: Some(1420),
        attachment: Attachment::Tcx,
    };
    let traffic = [
        (Path::Ipv6, Direction::In),
        (Path::Ipv6, Direction::Out),
        (Path::Nat46, Direction::In),
        (Path::Nat46, Direction::Out),
    ]
    .map(|(path, direction)| Traffic { path, direction, packets: bytes / 1000, bytes });
    Moment {
        at,
        status: Status {
            version: "0.1.0".into(),
            pid: 1,
            uptime_seconds: 60,
            config: "/etc/ingress/ingress.toml".into(),
            last_reload: Reload { timestamp_seconds: 0, error: None },
            shield: Shield::Off,
            native_is_lost: false,
            uplink: interface("eth0"),
            sites: vec![SiteStatus {
                name: "home".to_owned(),
                interface: interface("wg0"),
                prefixes: Vec::new(),
                wireguard: true,
                last_handshake_timestamp_seconds: None,
            }],
            nat46_prefix: "64:ff9b:1::/96".parse().unwrap(),
            listen: Vec::new(),
            policy: PolicyStatus::default(),
            flow_table: FlowTable { entries: flows.len() as u64, max_entries: 1_048_576 },
            handshakes_in_progress: 1,
            heartbeat_age_seconds: 0.1,
        },
        stats: Stats {
            traffic: traffic.to_vec(),
            handshakes: vec![Count::new("spliced", 5), Count::new("no_name", refused)],
            ..Stats::default()
        },
        drops: Drops {
            drops: vec![DropCount {
                reason: "stray".into(),
                description: "".into(),
                count: refused,
            }],
        },
        flows,
    }
}

fn view() -> View {
    let begin = Instant::now();
    let old = flow("192.0.2.7:1", Some("www.example.org"), 100, 1000);
    let before = moment(begin, 1_000_000, 0, vec![old.clone()]);
    let flows = vec![
        Flow { bytes_out: 5000, ..old },
        flow("192.0.2.8:2", Some("nas.example.org"), 1, 20_000_000),
        flow("192.0.2.9:3", Some("www.example.org"), 500, 7_000_000),
        flow("192.0.2.10:4", None, 0, 0),
    ];
    View::between(&before, &moment(begin + Duration::from_secs(2), 3_000_000, 4, flows), 3)
}

#[test]
fn rates_are_of_the_interval() {
    let view = view();
    assert_eq!(view.flows.len(), 3, "only the busiest");
    assert_eq!(view.flows[0].flow.client, "192.0.2.8:2".parse().unwrap());
    assert!((view.flows[0].rate.bytes_out_per_second - 10e6).abs() < 1.0, "it is new");
    assert!((view.flows[1].rate.bytes_out_per_second - 2000.0).abs() < 1.0);
    let hosts: Vec<_> = view.hosts.iter().map(|host| (host.host.as_deref(), host.flows)).collect();
    let expected = [(Some("nas.example.org"), 1), (Some("www.example.org"), 2), (None, 1)];
    assert_eq!(hosts, expected);
    let busiest = view.hosts[1].rate.bytes_out_per_second;
    assert!((busiest - 2000.0).abs() < 1.0, "what is old and unknown has not moved just now");
    assert_eq!(view.sites[0].flows, 3);
    assert_eq!(view.bytes_per_second(), 4_000_000);
    assert_eq!(view.handshakes[0].name, "no_name");
    assert!((view.handshakes[0].per_second).abs() < 2.1);
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["flows"][0]["host"], "nas.example.org");
    assert_eq!(json["sites"][0]["name"], "home");
}

#[test]
fn a_first_look_and_a_restart_show_no_rates() {
    let begin = Instant::now();
    let first = moment(begin, 9000, 3, vec![flow("192.0.2.7:1", None, 0, 10)]);
    let view = View::between(&first, &first, 5);
    assert_eq!(view.bytes_per_second(), 0);
    let restarted = moment(begin + Duration::from_secs(1), 10, 1, Vec::new());
    assert_eq!(View::between(&first, &restarted, 5).bytes_per_second(), 0);
}

#[test]
fn eighty_columns_are_enough() {
    let (view, history) = (view(), VecDeque::from([1, 5, 3]));
    let screen = Screen { view: &view, history: &history, style: Style::Plain, note: "" };
    let text = screen.text(80, 24);
    for needed in [
        "ingressd 0.1.0, up 1m00s",
        "4 of 1048576 flows, 1 shaking hands",
        "1.0 MB/s",
        "home              wg0              never",
        "nas.example.org",
        "192.0.2.8:2 ",
        "10.0 MB/s",
        "spliced",
        "stray",
    ] {
        assert!(text.contains(needed), "{needed} is missing in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for (width, height) in [(200, 60), (40, 10), (10, 3), (1, 1)] {
        screen.text(width, height);
    }
}
