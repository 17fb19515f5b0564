//! ingressctl as scripts see it, against a daemon that knows its answers by heart.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use ingress::{
    config,
    control::{
        Attachment, Control, Count, Direction, DropCount, Drops, ErrorKind, Filter, Flow,
        FlowState, FlowTable, Flows, Interface, Path as TrafficPath, PolicyStatus, Reload, Request,
        Response, Server, Shield, SiteStatus, Stats, Status, Traffic,
    },
    dns::Resolver,
};

struct Daemon;

impl Control for Daemon {
    async fn answer(&self, request: Request) -> Response {
        match request {
            Request::Flows { filter } => Response::Flows(Flows::from(
                flows().into_iter().filter(|flow| filter.matches(flow)).collect::<Vec<_>>(),
            )),
            Request::Kill { filter } => {
                Response::Killed { flows: u64::from(filter != Filter::default()) }
            }
            Request::Stats => Response::Stats(Stats {
                traffic: vec![Traffic {
                    path: TrafficPath::Nat46,
                    direction: Direction::In,
                    packets: 5,
                    bytes: 5000,
                }],
                flows_opened: 3,
                flows_closed: vec![Count::new("finished", 1)],
                ..Stats::default()
            }),
            Request::Drops => Response::Drops(Drops {
                drops: vec![DropCount {
                    reason: "hop_limit".into(),
                    description: "The hop limit was used up".into(),
                    count: 1,
                }],
            }),
            Request::Status => Response::Status(status()),
            Request::Reload => Response::Error {
                kind: ErrorKind::Configuration,
                message: "ingress.toml:1:1: nonsense".to_owned(),
            },
            Request::Flush { name } => {
                let answer = Response::flushed(&resolver(), name.as_deref());
                if !matches!(answer, Response::Flushed { .. }) {
                    return answer;
                }
                Response::Flushed { names: if name.is_some() { 1 } else { 9 } }
            }
            Request::Dns | Request::Connections | Request::Explain { .. } => {
                Response::failed("not here")
            }
        }
    }
}

/// One that knows nothing, and asks nobody.
fn resolver() -> Resolver {
    let servers = vec!["127.0.0.1:9".parse().unwrap()];
    Resolver::new(&config::Dns { servers, timeout: Duration::from_secs(1) }, &BTreeMap::new())
}

fn flows() -> Vec<Flow> {
    vec![Flow {
        protocol: ingress::config::Protocol::Tls,
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
    }]
}

fn status() -> Status {
    let interface = |name: &str, index| Interface {
        name: name.to_owned(),
        index,
        mtu: index.map(|_| 1420),
        attachment: if index.is_some() { Attachment::Tcx } else { Attachment::None },
    };
    Status {
        version: "0.1.0".into(),
        pid: 42,
        uptime_seconds: 61,
        config: "/etc/ingress/ingress.toml".into(),
        last_reload: Reload { timestamp_seconds: 1_700_000_000, error: None },
        uplink: interface("eth0", Some(2)),
        shield: Shield::Off,
        native_is_lost: false,
        sites: vec![SiteStatus {
            name: "home".to_owned(),
            interface: interface("wg0", None),
            prefixes: vec!["2001:db8::/64".parse().unwrap()],
            wireguard: true,
            last_handshake_timestamp_seconds: None,
        }],
        nat46_prefix: "64:ff9b:1::/96".parse().unwrap(),
        listen: Vec::new(),
        policy: PolicyStatus::default(),
        flow_table: FlowTable { entries: 1, max_entries: 1024 },
        handshakes_in_progress: 1,
        heartbeat_age_seconds: 0.4,
    }
}

fn ingressctl(socket: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ingressctl"))
        .arg("--socket")
        .arg(socket)
        .args(arguments.split_whitespace())
        .output()
        .unwrap()
}

#[test]
fn answers_and_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(async { Server::bind(&socket) }).unwrap();
    runtime.spawn(server.serve(Arc::new(Daemon)));

    for (arguments, code, out) in [
        (
            "flows -o json",
            0,
            r#"{"version":1,"flows":[{"protocol":"tls","client":"192.0.2.7:50000""#,
        ),
        ("flows -o ndjson", 0, r#"{"protocol":"tls""#),
        ("flows --client 192.0.2.0/24 --state established --sort bytes", 0, "CLIENT "),
        ("flows --client 192.0.2.8", 0, "no flows\n"),
        ("flows kill --client 192.0.2.7", 0, "1 flow ended\n"),
        ("flows --host www.example.org kill -o json", 0, r#"{"flows":1}"#),
        ("flows kill", 2, ""),
        ("flows kill --all --site home", 2, ""),
        ("flows --state open", 2, ""),
        ("flows --client here", 2, ""),
        ("status", 0, "ingressd   0.1.0, pid 42, up 1m01s\n"),
        ("status -o json", 0, r#"{"version":"0.1.0","pid":42"#),
        ("stats", 0, "PATH"),
        ("drops", 0, "REASON"),
        (
            "drops -o ndjson",
            0,
            r#"{"reason":"hop_limit","description":"The hop limit was used up","count":1}"#,
        ),
        ("dns --flush", 0, "9 names forgotten\n"),
        ("dns --flush=www.example.org", 0, "1 name forgotten\n"),
        ("dns --flush=WWW.Example.org.", 0, "1 name forgotten\n"),
        ("dns --flush=localhost", 1, ""),
        ("dns", 1, ""),
        ("reload", 78, ""),
        ("completions bash", 0, "_ingressctl()"),
        ("nonsense", 2, ""),
    ] {
        let output = ingressctl(&socket, arguments);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}\n{stdout}\n{stderr}");
        assert!(stdout.starts_with(out), "{arguments}\n{stdout}");
        assert!(!stdout.contains('\x1b'), "{arguments}: colours in a pipe");
        assert_eq!(stderr.is_empty(), code == 0, "{arguments}\n{stderr}");
    }

    let absent = directory.path().join("absent.sock");
    let output = ingressctl(&absent, "status");
    assert_eq!(output.status.code(), Some(69));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(absent.to_str().unwrap()), "{message}");
}
