//! A good machine, and the same with one fault.

use std::{collections::HashMap, net::Ipv4Addr};

use super::{super::Verdict, *};
use crate::netlink::{Link, Snapshot};

const GOOD: [(&str, &str); 2] = [
    ("proc/sys/net/ipv6/conf/all/forwarding", "1\n"),
    (
        "proc/net/tcp",
        "  sl  local_address rem_address   st\n   0: 0100007F:01BB 00000000:0000 0A\n",
    ),
];

fn route(destination: &str, through: u32, forwards: bool) -> Route {
    let destination = destination.parse().unwrap();
    Route {
        destination,
        through: vec![through],
        metric: 1024,
        forwards,
        local: false,
        router: None,
    }
}

fn good() -> Snapshot {
    let link = |index, mtu, ethernet| Link { index, mtu, up: true, ethernet };
    Snapshot {
        links: HashMap::from([
            ("eth0".to_owned(), link(2, 1500, true)),
            ("wg0".to_owned(), link(3, 1420, false)),
        ]),
        addresses: vec![(2, Ipv4Addr::new(198, 51, 100, 2))],
        routes: vec![
            route("::/0", 2, true),
            route("2001:db8:1::/64", 1, false),
            route("2001:db8:1:0:1::/80", 3, true),
        ],
        ..Snapshot::default()
    }
}

fn machine(files: &[(&str, &str)], network: Snapshot) -> Vec<Finding> {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    check(&Host::at(root.path(), network), &Config::of_one_home())
}

fn assert_found(findings: &[Finding], verdict: Verdict, what: &str) {
    let found = findings.iter().any(|f| f.verdict == verdict && f.what.starts_with(what));
    assert!(found, "{what}: {findings:#?}");
}

#[test]
fn a_good_machine_has_no_findings_to_act_on() {
    for finding in machine(&GOOD, good()) {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
    }
}

#[test]
fn each_fault_of_the_network_is_found() {
    type Fault = fn(&mut Snapshot);
    let set: [(Fault, Verdict, &str); 9] = [
        (|n| n.links.get_mut("wg0").unwrap().up = false, Verdict::Fail, "wg0 is down"),
        (|n| n.links.retain(|name, _| name != "wg0"), Verdict::Fail, "wg0 does not exist"),
        (
            |n| n.links.get_mut("wg0").unwrap().mtu = 1200,
            Verdict::Fail,
            "wg0 has an MTU of 1200, too small",
        ),
        (
            |n| n.links.get_mut("wg0").unwrap().mtu = 1450,
            Verdict::Warn,
            "wg0 has an MTU of 1450, and the up",
        ),
        (|n| n.addresses.clear(), Verdict::Fail, "eth0 has no IPv4 address"),
        (
            |n| n.routes.retain(|route| route.destination.prefix_len() > 0),
            Verdict::Fail,
            "no IPv6 default route leads through eth0",
        ),
        (|n| n.routes.truncate(2), Verdict::Fail, "2001:db8:1:0:1::/80 is routed to eth0"),
        (|n| n.routes.clear(), Verdict::Fail, "2001:db8:1:0:1::/80 is not routed"),
        (|n| n.routes[2].through = vec![2], Verdict::Fail, "2001:db8:1:0:1::/80 is routed to eth0"),
    ];
    for (fault, verdict, what) in set {
        let mut network = good();
        fault(&mut network);
        assert_found(&machine(&GOOD, network), verdict, what);
    }
}

#[test]
fn each_fault_of_the_host_is_found() {
    for (path, text, verdict, what) in [
        ("proc/sys/net/ipv6/conf/all/forwarding", "0", Verdict::Fail, "IPv6 forwarding is off"),
        ("proc/sys/net/ipv6/conf/eth0/accept_ra", "1", Verdict::Warn, "eth0 ignores router"),
        (
            "proc/net/tcp6",
            "sl\n 0: 00000000000000000000000000000000:01BB 0:0000 0A",
            Verdict::Warn,
            "a server of this machine listens on port 443",
        ),
    ] {
        let mut files = GOOD.to_vec();
        files.push((path, text));
        assert_found(&machine(&files, good()), verdict, what);
    }
}

/// Turned on first, forwarding would end what router advertisements have given.
#[test]
fn the_default_route_outlives_the_remedy() {
    let remedy = |accept_ra| {
        let files = [
            ("proc/sys/net/ipv6/conf/all/forwarding", "0\n"),
            ("proc/sys/net/ipv6/conf/eth0/accept_ra", accept_ra),
        ];
        let findings = machine(&files, good());
        findings.into_iter().find(|one| one.check == "forwarding").unwrap().remedy
    };
    for (accept_ra, starts) in [
        (
            "1\n",
            "if its default route comes by router advertisement, first sysctl -w net.ipv6.conf.eth0.accept_ra=2",
        ),
        ("0\n", "sysctl -w net.ipv6.conf.all.forwarding=1"),
        ("2\n", "sysctl -w net.ipv6.conf.all.forwarding=1"),
    ] {
        let remedy = remedy(accept_ra);
        assert!(remedy.starts_with(starts), "{remedy}");
        assert!(remedy.contains("net.ipv6.conf.all.forwarding=1"), "{remedy}");
    }
}
