//! Interfaces, MTUs, routes, WireGuard's AllowedIPs, forwarding, and servers in the way.

use std::process::Command;

use ipnet::{IpNet, Ipv6Net};

use super::{Finding, host::Host};
use crate::config::{Config, Site};

/// WireGuard over IPv6: 40 for IPv6, 8 for UDP, 32 of its own.
const OVERHEAD: u32 = 80;
const IPV6_LEAST_MTU: u32 = 1280;

pub(super) fn check(host: &Host, config: &Config) -> Vec<Finding> {
    let uplink = config.uplink.interface.as_str();
    let uplink_mtu = host.link(uplink).map(|link| link.mtu);
    let mut findings = vec![interface(host, uplink), forwarding(host, uplink)];
    for site in &config.sites {
        findings.push(interface(host, site.interface.as_str()));
        findings.extend(mtu(host, site, uplink_mtu));
        findings.extend(site.prefixes.iter().map(|prefix| route(host, site, *prefix)));
        findings.extend(allowed_ips(site));
    }
    findings.extend(servers_in_the_way(host, config));
    findings
}

fn interface(host: &Host, name: &str) -> Finding {
    const CHECK: &str = "interface";
    match host.link(name) {
        Some(link) if link.up => Finding::ok(CHECK, format!("{name} is up, MTU {}", link.mtu)),
        Some(_) => {
            Finding::fail(CHECK, format!("{name} is down"), format!("ip link set {name} up"))
        }
        None => Finding::fail(
            CHECK,
            format!("{name} does not exist"),
            format!("bring it up, as with `wg-quick up {name}`, or correct the configuration"),
        ),
    }
}

fn forwarding(host: &Host, uplink: &str) -> Finding {
    const CHECK: &str = "forwarding";
    let is = |name: &str| host.read(&format!("proc/sys/net/ipv6/conf/{name}"));
    if is("all/forwarding").as_deref() != Some("1") {
        return Finding::fail(
            CHECK,
            "IPv6 forwarding is off, and what the programs leave to the kernel is lost",
            "sysctl -w net.ipv6.conf.all.forwarding=1, and the same in /etc/sysctl.d",
        );
    }
    if is(&format!("{uplink}/accept_ra")).as_deref() == Some("1") {
        return Finding::warn(
            CHECK,
            format!("{uplink} ignores router advertisements, because forwarding is on"),
            format!(
                "if its default route comes from them: sysctl -w net.ipv6.conf.{uplink}.accept_ra=2"
            ),
        );
    }
    Finding::ok(CHECK, "IPv6 is forwarded")
}

fn mtu(host: &Host, site: &Site, uplink: Option<u32>) -> Option<Finding> {
    const CHECK: &str = "mtu";
    let (mtu, name) = (host.link(site.interface.as_str())?.mtu, &site.interface);
    Some(if mtu < IPV6_LEAST_MTU {
        let what = format!("{name} has an MTU of {mtu}, too small for IPv6");
        Finding::fail(CHECK, what, format!("ip link set {name} mtu 1420"))
    } else if let Some(uplink) = uplink.filter(|uplink| mtu + OVERHEAD > *uplink) {
        Finding::warn(
            CHECK,
            format!(
                "{name} has an MTU of {mtu}, and the uplink one of {uplink}: full packets of WireGuard over IPv6 would be fragmented"
            ),
            format!("ip link set {name} mtu {}, at the other end too", uplink - OVERHEAD),
        )
    } else {
        Finding::ok(CHECK, format!("{name} fits into the uplink"))
    })
}

fn route(host: &Host, site: &Site, prefix: Ipv6Net) -> Finding {
    const CHECK: &str = "route";
    let name = site.interface.as_str();
    let routes = host.routes();
    let best = routes
        .iter()
        .filter(|route| route.destination.contains(&prefix) && route.interface != "lo")
        .max_by_key(|route| route.destination.prefix_len());
    let remedy = format!("ip -6 route add {prefix} dev {name}");
    match best {
        Some(route) if route.interface == name => {
            Finding::ok(CHECK, format!("{prefix} is routed to {name}"))
        }
        Some(route) => {
            Finding::fail(CHECK, format!("{prefix} is routed to {}", route.interface), remedy)
        }
        None => Finding::fail(CHECK, format!("{prefix} is not routed"), remedy),
    }
}

/// Nothing, where the tunnel is not WireGuard or its tool is not there.
fn allowed_ips(site: &Site) -> Option<Finding> {
    const CHECK: &str = "allowed ips";
    let name = site.interface.as_str();
    let output = Command::new("wg").args(["show", name, "allowed-ips"]).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let allowed: Vec<IpNet> = String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let missing: Vec<String> = site
        .prefixes
        .iter()
        .filter(|prefix| !allowed.iter().any(|net| net.contains(&IpNet::V6(**prefix))))
        .map(Ipv6Net::to_string)
        .collect();
    Some(if missing.is_empty() {
        Finding::ok(CHECK, format!("{name} lets the site's prefixes through"))
    } else {
        Finding::fail(
            CHECK,
            format!("no peer of {name} may have {}", missing.join(", ")),
            "add it to the peer's AllowedIPs here; at the other end, AllowedIPs must hold the world and the NAT46 prefix",
        )
    })
}

fn servers_in_the_way(host: &Host, config: &Config) -> Vec<Finding> {
    let taken = host.listening();
    config
        .listen
        .iter()
        .flat_map(|listen| &listen.ports)
        .filter(|port| taken.contains(&port.get()))
        .map(|port| {
            Finding::warn(
                "port",
                format!("a server of this machine listens on port {port}; IPv4 clients from outside will not reach it"),
                format!("stop it or move it (`ss -ltnp sport = :{port}` names it), or take the port out of [[listen]]"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    const CONFIG: &str = r#"
        [uplink]
        interface = "eth0"
        [[site]]
        name = "home"
        interface = "wg0"
        prefixes = ["2001:db8:1:0:1::/80"]
        [[listen]]
        ports = [443]
    "#;

    fn machine(files: &[(&str, &str)]) -> Vec<Finding> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        check(&Host::at(root.path()), &Config::parse(CONFIG, "test").unwrap())
    }

    const GOOD: [(&str, &str); 7] = [
        ("sys/class/net/eth0/flags", "0x1003\n"),
        ("sys/class/net/eth0/mtu", "1500\n"),
        ("sys/class/net/wg0/flags", "0x91\n"),
        ("sys/class/net/wg0/mtu", "1420\n"),
        ("proc/sys/net/ipv6/conf/all/forwarding", "1\n"),
        (
            "proc/net/ipv6_route",
            "20010db8000100000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n\
             20010db8000100000001000000000000 50 00000000000000000000000000000000 00 00000000000000000000000000000000 00000400 00000001 00000000 00000001      wg0\n",
        ),
        (
            "proc/net/tcp",
            "  sl  local_address rem_address   st\n   0: 0100007F:01BB 00000000:0000 0A\n",
        ),
    ];

    #[test]
    fn a_good_machine_has_no_findings_to_act_on() {
        for finding in machine(&GOOD) {
            assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
        }
    }

    #[test]
    fn each_fault_is_found() {
        for (path, text, verdict, what) in [
            ("sys/class/net/wg0/flags", "0x90", Verdict::Fail, "wg0 is down"),
            ("sys/class/net/wg0/mtu", "", Verdict::Fail, "wg0 does not exist"),
            ("sys/class/net/wg0/mtu", "1200", Verdict::Fail, "wg0 has an MTU of 1200, too small"),
            ("sys/class/net/wg0/mtu", "1450", Verdict::Warn, "wg0 has an MTU of 1450, and the up"),
            ("proc/sys/net/ipv6/conf/all/forwarding", "0", Verdict::Fail, "IPv6 forwarding is off"),
            ("proc/sys/net/ipv6/conf/eth0/accept_ra", "1", Verdict::Warn, "eth0 ignores router"),
            ("proc/net/ipv6_route", "", Verdict::Fail, "2001:db8:1:0:1::/80 is not routed"),
            (
                "proc/net/ipv6_route",
                GOOD[5].1.lines().next().unwrap(),
                Verdict::Fail,
                "2001:db8:1:0:1::/80 is routed to eth0",
            ),
            (
                "proc/net/tcp6",
                "sl\n 0: 00000000000000000000000000000000:01BB 0:0000 0A",
                Verdict::Warn,
                "a server of this machine listens on port 443",
            ),
        ] {
            let mut files = GOOD.to_vec();
            files.push((path, text));
            let findings = machine(&files);
            let found = findings.iter().any(|f| f.verdict == verdict && f.what.starts_with(what));
            assert!(found, "{what}: {findings:#?}");
        }
    }
}
