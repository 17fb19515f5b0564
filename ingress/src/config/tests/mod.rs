//! A whole configuration, the smallest one, and what comes of them.

mod errors;
mod policy;
mod values;

use super::*;

const FULL: &str = r#"
[uplink]
interface = "eth0"
xdp = "auto"

[[site]]
name = "home"
interface = "wg0"
prefixes = ["2001:db8:1:0:1::/80", "fd12:3456::/64"]

[[site]]
name = "office"
interface = "wg1"
prefixes = ["2001:db8:1:0:2::/80"]

[nat46]
prefix = "fd00:46::/32"

[[listen]]
ports = [443, 8006]
default_host = "WWW.example.org."
[[listen]]
ports = [5432]
protocol = "postgres"
address = "192.0.2.1"
[[listen]]
ports = [5432]
protocol = "tls"
address = ["192.0.2.2"]

[dns]
servers = ["127.0.0.53", "127.0.0.1:5353", "::1", "[::1]:54"]
timeout = 2

[hosts]
"NAS.example.org" = "2001:db8:1:0:1::9"
"two.example.org" = ["2001:db8:1:0:2::1", "fd12:3456::1"]

[policy]
ipv6 = "closed"
deny_clients = ["192.0.2.0/24", "2001:db8:bad::/48", "192.0.2.9"]
allow_clients = ["::/0"]
deny_names = ["*.Internal.example.org."]
allow_names = ["*.org"]

[[allow]]
to = ["2001:db8:1:0:1::80", "fd12:3456::/112"]
protocol = "tcp"
ports = [443, "8000-8010"]
from = ["2001:db8:c::/48"]
[[allow]]
to = ["2001:db8:1:0:2::/80"]
ports = [53]
[[allow]]
to = ["2001:db8:1:0:2::1"]
protocol = 50

[metrics]
listen = "127.0.0.1:9469"

[control]
socket = "/tmp/control.sock"

[daemon]
bpffs = "/sys/fs/bpf/second"
flows = 1000
"#;

const SMALLEST: &str = r#"
[uplink]
interface = "eth0"
[[site]]
name = "home"
interface = "wg0"
prefixes = ["2001:db8::/64"]
[[listen]]
ports = [443]
"#;

/// The home that tests elsewhere are about.
const ONE_HOME: &str = r#"
[uplink]
interface = "eth0"
[[site]]
name = "home"
interface = "wg0"
prefixes = ["2001:db8:1:0:1::/80"]
[[listen]]
ports = [443]
"#;

impl Config {
    /// One home, one port.
    pub(crate) fn of_one_home() -> Self {
        Self::parse(ONE_HOME, "test").unwrap()
    }
}

/// The smallest configuration with one line replaced or, for none, appended, and the error's first and last line.
#[track_caller]
fn refused(old: &str, new: &str, first: &str, last: &str) {
    let text = if old.is_empty() {
        format!("{SMALLEST}{new}")
    } else {
        assert!(SMALLEST.contains(old));
        SMALLEST.replace(old, new)
    };
    let error = Config::parse(&text, "i.toml").expect_err(new).to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1].trim()), (first, last), "\n{error}");
}

#[test]
fn everything_can_be_said() {
    let config = Config::parse(FULL, "full").unwrap();
    assert_eq!(config.uplink.xdp, Xdp::Auto);
    assert_eq!(config.sites.len(), 2);
    assert_eq!(config.nat46.to_string(), "fd00:46::/32");
    assert_eq!(config.listen[0].default_host, Some("www.example.org".parse().unwrap()));
    assert_eq!(config.listen[0].protocol, Protocol::Tls);
    assert_eq!(config.listen[1].protocol, Protocol::Postgres);
    assert_eq!(config.listen[1].addresses, [Ipv4Addr::new(192, 0, 2, 1)]);
    let servers: Vec<String> = config.dns.servers.iter().map(SocketAddr::to_string).collect();
    assert_eq!(servers, ["127.0.0.53:53", "127.0.0.1:5353", "[::1]:53", "[::1]:54"]);
    assert_eq!(config.dns.timeout, Duration::from_secs(2));
    for (host, addresses) in [("nas.example.org", 1), ("two.example.org", 2)] {
        assert_eq!(config.hosts[&host.parse::<HostName>().unwrap()].len(), addresses);
    }
    let owner =
        |address: &str| config.sites.iter().position(|site| site.owns(address.parse().unwrap()));
    assert_eq!(owner("2001:db8:1:0:2::1"), Some(1));
    assert_eq!(owner("2001:db8:1:0:3::1"), None);
    assert_eq!(config.metrics.listen.unwrap().port(), 9469);
    assert_eq!(config.daemon.flows, 1000);
    let policy = config.policy;
    assert_eq!(policy.ipv6, Ipv6Policy::Closed);
    assert_eq!(policy.deny_clients[2], "192.0.2.9/32".parse().unwrap());
    let tcp = |ports| AllowedService { protocol: Some(6), ports };
    assert_eq!(policy.allow[0].services, [tcp(443..=443), tcp(8000..=8010)]);
    assert_eq!(policy.allow[0].to[0], "2001:db8:1:0:1::80/128".parse().unwrap());
    let udp = AllowedService { protocol: Some(17), ports: 53..=53 };
    assert_eq!(policy.allow[1].services, [tcp(53..=53), udp], "the protocols that have ports");
    assert_eq!(policy.allow[2].services, [AllowedService { protocol: Some(50), ports: 0..=65535 }]);
}

#[test]
fn the_rest_has_defaults() {
    let config = Config::parse(SMALLEST, "smallest").unwrap();
    assert_eq!(config.uplink.xdp, Xdp::Off);
    assert_eq!(config.nat46.to_string(), "64:ff9b:1::/96");
    assert!(config.listen[0].addresses.is_empty());
    assert_eq!(config.dns, Dns { servers: vec![], timeout: Duration::from_secs(1) });
    assert_eq!(config.metrics.listen, None);
    assert_eq!(config.control.socket, Path::new("/run/ingress/control.sock"));
    assert_eq!(config.daemon.bpffs, Path::new("/sys/fs/bpf/ingress"));
    assert_eq!(config.daemon.flows, 1 << 20);
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.policy.ipv6, Ipv6Policy::Open);
    assert_eq!(config, Config::parse(SMALLEST, "again").unwrap());
}
