//! A whole configuration, the smallest one, and the text of each error.

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

#[test]
fn everything_can_be_said() {
    let config = Config::parse(FULL, "full").unwrap();
    assert_eq!(config.uplink.xdp, Xdp::Auto);
    assert_eq!(config.sites.len(), 2);
    assert_eq!(config.nat46.network(), "fd00:46::/32".parse().unwrap());
    assert_eq!(config.listen[0].default_host.as_deref(), Some("www.example.org"));
    assert_eq!(config.listen[0].protocol, Protocol::Tls);
    assert_eq!(config.listen[1].protocol, Protocol::Postgres);
    assert_eq!(config.listen[1].addresses, [Ipv4Addr::new(192, 0, 2, 1)]);
    let servers: Vec<String> = config.dns.servers.iter().map(SocketAddr::to_string).collect();
    assert_eq!(servers, ["127.0.0.53:53", "127.0.0.1:5353", "[::1]:53", "[::1]:54"]);
    assert_eq!(config.dns.timeout, Duration::from_secs(2));
    assert_eq!(config.hosts["nas.example.org"].len(), 1);
    assert_eq!(config.hosts["two.example.org"].len(), 2);
    assert_eq!(config.site_of("2001:db8:1:0:2::1".parse().unwrap()), Some(1));
    assert_eq!(config.site_of("2001:db8:1:0:3::1".parse().unwrap()), None);
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

#[test]
fn an_error_shows_place_line_and_remedy() {
    let error = Config::parse(&SMALLEST.replace("8::/64", "8::5/64"), "i.toml").unwrap_err();
    let expected = r#"
i.toml:7:13: 2001:db8::5/64 has bits set beyond its length
7 | prefixes = ["2001:db8::5/64"]
  |             ^^^^^^^^^^^^^^^^
  = write "2001:db8::/64""#;
    assert_eq!(error.to_string(), expected.trim_start());
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = r#"
[uplink]
interface = "a-name-too-long-for-linux"
[[site]]
name = "home"
interface = "wg0"
prefixes = ["fe80::/64"]
[[listen]]
ports = [443, 0, 443]
"#;
    let error = Config::parse(text, "i.toml").unwrap_err();
    let ConfigError::Invalid { problems, .. } = error else { panic!("{error}") };
    let lines: Vec<_> = problems.iter().map(|p| p.place.as_ref().unwrap().line).collect();
    assert_eq!(lines, [3, 7, 9, 9]);
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
fn keys_and_values_of_no_meaning() {
    refused(
        "ports",
        "prots",
        "i.toml:9:1: unknown key `prots`",
        "= did you mean `ports`? the keys here are ports, protocol, address, default_host, timestamps",
    );
    refused(
        "",
        "protocol = \"tsl\"",
        "i.toml:10:12: unknown value \"tsl\"",
        "= did you mean `tls`? the choices are tls, postgres",
    );
    refused("name = \"home\"\n", "", "i.toml:4:1: `name` is missing", "= add name = \"home\"");
    refused(
        "[443]",
        "443",
        "i.toml:9:9: invalid type: integer `443`, expected a sequence",
        "= see ingress.toml in the documentation for the form of each value",
    );
    refused(
        "[uplink]\ninterface = \"eth0\"",
        "",
        "i.toml: there is no [uplink]",
        "= add [uplink] with interface = \"eth0\"",
    );
}

#[test]
fn names() {
    refused(
        "\"eth0\"",
        "\"eth/0\"",
        "i.toml:3:13: the interface name \"eth/0\" contains a slash, a colon or a space",
        "= `ip link` lists the interfaces of this machine",
    );
    refused(
        "\"wg0\"",
        "\"eth0\"",
        "i.toml:6:13: site \"home\" is behind eth0, which is the uplink",
        "= name the tunnel to the site, as in \"wg0\"",
    );
    let twice = "[[site]]\nname = \"home\"\ninterface = \"wg1\"\nprefixes = [\"2001:db9::/64\"]";
    refused(
        "",
        twice,
        "i.toml:11:8: there are two sites named \"home\"",
        "= give each site a name of its own",
    );
    refused(
        "",
        "default_host = \"localhost\"",
        "i.toml:10:16: the host name \"localhost\" has no dot",
        "= write a full name, as in \"www.example.org\"",
    );
    for (name, problem) in [
        ("192.0.2.1", "is an address"),
        ("a..b", "has an empty label"),
        (&format!("{}.b", "a".repeat(64)), "has a label longer than 63 characters"),
        (&"ab.".repeat(90), "is longer than 253 characters"),
        ("nas.1", "ends in a number, which no name of a server does"),
        ("exämple.org", "has a character other than a-z, 0-9, '-', '_' and '.'"),
    ] {
        assert_eq!(host_name(name), Err(problem), "{name}");
    }
}

#[test]
fn site_prefixes() {
    let only = "= only global unicast (2000::/3) and unique local (fc00::/7) prefixes can";
    for prefix in ["ff00::/8", "fe80::/10", "::/0"] {
        let first = format!("i.toml:7:13: {prefix} cannot be routed to a site");
        refused("2001:db8::/64", prefix, &first, only);
    }
    refused(
        "2001:db8::/64",
        "2000::/16",
        "i.toml:7:13: 2000::/16 is too large to be a site's own",
        "= a site has a prefix between /32 and /128, mostly a /64 or a part of one",
    );
    refused(
        "2001:db8::/64",
        "2001:db8::1",
        "i.toml:7:13: \"2001:db8::1\" is not an IPv6 prefix",
        "= write \"2001:db8::1/128\" for the one address",
    );
    let inner = "[[site]]\nname = \"b\"\ninterface = \"wg1\"\nprefixes = [\"2001:db8:0:0:1::/80\"]";
    refused(
        "",
        inner,
        "i.toml:13:13: 2001:db8:0:0:1::/80 overlaps 2001:db8::/64 of site \"home\" in line 7",
        "= an address belongs to one site: make the prefixes disjoint",
    );
}

#[test]
fn nat46_prefixes() {
    refused(
        "",
        "[nat46]\nprefix = \"64:ff9b:1::/80\"",
        "i.toml:11:10: a NAT46 prefix cannot be a /80",
        "= RFC 6052 knows /32, /40, /48, /56, /64 and /96",
    );
    refused(
        "",
        "[nat46]\nprefix = \"2001:db9:0:0:100::/96\"",
        "i.toml:11:10: bits 64 to 71 of the NAT46 prefix 2001:db9:0:0:100::/96 are not zero",
        "= RFC 6052 wants them zero, as in 2001:db9::/96",
    );
    refused(
        "",
        "[nat46]\nprefix = \"2001:db8::/96\"",
        "i.toml:11:10: 2001:db8::/96 of [nat46] overlaps 2001:db8::/64 of site \"home\"",
        "= no server may have an address inside the NAT46 prefix",
    );
}

#[test]
fn ports_and_addresses() {
    refused("[443]", "[0]", "i.toml:9:10: 0 is not a port", "= a port is a number from 1 to 65535");
    refused(
        "",
        "[[listen]]\nports = [80, 443]\naddress = \"192.0.2.1\"",
        "i.toml:11:14: port 443 is already listed in line 9",
        "= list a port once for each address",
    );
    refused(
        "",
        "address = \"2001:db8::1\"",
        "i.toml:10:11: \"2001:db8::1\" is not an IPv4 address",
        "= write it as in \"192.0.2.1\", without a port",
    );
    refused(
        "",
        "[metrics]\nlisten = \":9469\"",
        "i.toml:11:10: \":9469\" is not an address and port",
        "= write it as in \"127.0.0.1:9469\" or \"[::1]:9469\"",
    );
    refused(
        "",
        "[dns]\nservers = [\"one.one.one.one\"]",
        "i.toml:11:12: \"one.one.one.one\" is not the address of a DNS server",
        "= write an IP address, or with a port as in \"127.0.0.1:5353\" or \"[::1]:5353\"",
    );
    refused(
        "",
        "[hosts]\n\"a.example.org\" = \"2001:db9::1\"",
        "i.toml:11:19: 2001:db9::1 lies outside every site's prefixes",
        "= take an address of 2001:db8::/64, or add its prefix to a site",
    );
    refused(
        "",
        "[hosts]\n\"nas\" = \"2001:db8::1\"",
        "i.toml:11:1: the host name \"nas\" has no dot",
        "= write a full name, as in \"www.example.org\"",
    );
}

#[test]
fn numbers_and_paths() {
    refused(
        "",
        "[dns]\ntimeout = 0",
        "i.toml:11:11: a timeout of 0 s makes no sense here",
        "= it is in seconds, from 0.1 to 10",
    );
    refused(
        "",
        "[daemon]\nflows = -1",
        "i.toml:11:9: a table of -1 flows cannot be",
        "= take a number from 1 to 33554432",
    );
    refused(
        "",
        "[control]\nsocket = \"control.sock\"",
        "i.toml:11:10: \"control.sock\" is not an absolute path",
        "= write it from the root, as in \"/run/ingress/control.sock\"",
    );
}

#[test]
fn names_and_clients_are_ruled_by_lists() {
    let policy = Config::parse(FULL, "full").unwrap().policy;
    for (name, passes) in [
        ("www.example.org", true),
        ("internal.example.org", true),
        ("a.internal.example.org", false),
        ("a.b.internal.example.org", false),
        ("notinternal.example.org", true),
        ("www.example.net", false),
    ] {
        assert_eq!(policy.rule_on(name).lets_through(), passes, "{name}");
    }
    let Ruling::Denied(entry) = policy.rule_on("a.internal.example.org") else { panic!() };
    assert_eq!(entry.to_string(), "*.internal.example.org");
    assert_eq!(policy.rule_on("www.example.net"), Ruling::NotAllowed);
    for (client, passes) in [("192.0.2.1", false), ("2001:db8::1", true), ("192.0.3.1", false)] {
        let ruling = policy.rule_on_client(client.parse().unwrap());
        assert_eq!(ruling.lets_through(), passes, "{client}");
    }
}

#[test]
fn a_policy_that_closes_nothing_is_refused() {
    refused(
        "",
        "[[allow]]\nto = [\"2001:db8::1\"]",
        "i.toml:10:1: this [[allow]] changes nothing, since everything is let in",
        "= set ipv6 = \"closed\" in [policy]; or \"open\" there, to keep the rule for later",
    );
    let kept = "[policy]\nipv6 = \"open\"\n[[allow]]\nto = [\"2001:db8::1\"]";
    assert_eq!(Config::parse(&format!("{SMALLEST}{kept}"), "kept").unwrap().policy.allow.len(), 1);
    refused(
        "",
        "default_host = \"www.example.org\"\n[policy]\ndeny_names = [\"*.org\"]",
        "i.toml: the default_host \"www.example.org\" is one that the lists of names in [policy] refuse",
        "= leave one of the two out",
    );
}

#[test]
fn slips_in_a_policy() {
    let policy = |line: &str, what: &str, remedy: &str| {
        let first = format!("i.toml:11:{what}");
        refused("", &format!("[policy]\n{line}"), &first, remedy);
    };
    policy(
        "ipv6 = \"close\"",
        "8: unknown value \"close\"",
        "= did you mean `closed`? the choices are open, closed",
    );
    policy(
        "deny_clients = [\"192.0.2.7/24\"]",
        "17: 192.0.2.7/24 has bits set beyond its length",
        "= write \"192.0.2.0/24\"",
    );
    policy(
        "deny_clients = [\"example.org\"]",
        "17: \"example.org\" is neither an address nor a prefix",
        "= write it as in \"192.0.2.0/24\", \"2001:db8:bad::/48\" or \"2001:db8::7\"",
    );
    policy(
        "deny_clients = [\"::ffff:192.0.2.0/120\"]",
        "17: ::ffff:192.0.2.0/120 is IPv4 in disguise",
        "= write \"192.0.2.0/24\"",
    );
    policy(
        "deny_names = [\"www.*.org\"]",
        "15: the name \"www.*.org\" has a character other than a-z, 0-9, '-', '_' and '.'",
        "= write a name as \"www.example.org\", or \"*.example.org\" for all names below",
    );
    let allow = |lines: &str, what: &str, remedy: &str| {
        let text =
            format!("[policy]\nipv6 = \"closed\"\n[[allow]]\nto = [\"2001:db8::1\"]\n{lines}");
        refused("", &text, &format!("i.toml:14:{what}"), remedy);
    };
    allow(
        "protocol = \"icmp\"",
        "12: \"icmp\" is not a protocol",
        "= take \"tcp\", \"udp\", or a number from 0 to 255",
    );
    allow(
        "ports = [\"8010-8000\"]",
        "10: \"8010-8000\" is neither a port nor a range of ports",
        "= write a number from 1 to 65535, or a range as in \"8000-8010\"",
    );
    allow(
        "ports = [65536]",
        "10: 65536 is neither a port nor a range of ports",
        "= write a number from 1 to 65535, or a range as in \"8000-8010\"",
    );
    allow(
        "ports = [443]\nprotocol = 58",
        "9: protocol 58 has no ports",
        "= only tcp and udp have: leave `ports` out",
    );
    allow(
        "from = [\"192.0.2.0/24\"]",
        "9: 192.0.2.0/24 is IPv4, which comes by name and not by [[allow]]",
        "= take IPv6 prefixes here; `deny_clients` and `allow_clients` know IPv4, too",
    );
    allow("from = []", "8: nobody is listed", "= leave `from` out for everybody");
    refused(
        "",
        "[policy]\nipv6 = \"closed\"\n[[allow]]\nto = [\"2001:db9::/64\"]",
        "i.toml:13:7: \"2001:db9::/64\" does not lie inside a site's prefixes",
        "= take an address or a prefix inside 2001:db8::/64",
    );
    refused(
        "",
        "[policy]\nipv6 = \"closed\"\n[[allow]]\nports = [443]",
        "i.toml:12:1: `to` is missing",
        "= add to = [\"2001:db8:1:0:1::80\"]",
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nowhere/ingress.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/ingress.toml: no such file; write one, or name one with --config"
    );
}
