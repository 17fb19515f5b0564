//! The text of each error about a value: names, prefixes, ports and addresses, numbers and paths.

use super::*;

#[test]
fn names() {
    refused(
        "\"eth0\"",
        "\"eth/0\"",
        "i.toml:3:13: the interface name \"eth/0\" contains a slash, a colon or a space",
        "= `ip link` lists the interfaces of this machine",
    );
    // A dot is no trouble; a comma would be taken for one, and that interface for another than the configured one.
    let tagged = SMALLEST.replace("\"wg0\"", "\"wg0.1\"");
    assert_eq!(Config::parse(&tagged, "").unwrap().sites[0].interface.as_str(), "wg0.1");
    refused(
        "\"wg0\"",
        "\"wg0,1\"",
        "i.toml:6:13: the interface name \"wg0,1\" contains a comma, which stands for a dot in the names of pins",
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
fn paths() {
    refused(
        "",
        "[control]\nsocket = \"control.sock\"",
        "i.toml:11:10: \"control.sock\" is not an absolute path",
        "= write it from the root, as in \"/run/ingress/control.sock\"",
    );
    let long = format!("[control]\nsocket = \"/{}\"", "s".repeat(107));
    let what = "i.toml:11:10: a path of 108 octets is too long for a socket";
    refused("", &long, what, "= the kernel takes 107");
    refused(
        "",
        "[daemon]\nbpffs = \"/sys/fs/bpf/ingress.two\"",
        "i.toml:11:9: there can be no dot in \"/sys/fs/bpf/ingress.two\"",
        "= a bpffs takes no names with dots",
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

/// What the maps have no room for.
#[test]
fn more_sites_and_ports_than_there_can_be() {
    use std::fmt::Write;

    let sites = |count: usize| {
        (1..count).fold(String::new(), |mut text, n| {
            let _ = writeln!(
                text,
                "[[site]]\nname = \"s{n}\"\ninterface = \"s{n}\"\nprefixes = [\"2001:db8:1:{n:x}::/64\"]"
            );
            text
        })
    };
    assert!(Config::parse(&format!("{SMALLEST}{}", sites(64)), "").is_ok());
    refused(
        "",
        &sites(65),
        "i.toml:263:8: there are 65 sites, and 64 are the most",
        "= one tunnel can lead to several homes: list all of its prefixes in one [[site]]",
    );

    let ports = |count: u16| {
        let ports: Vec<String> = (1000..1000 + count).map(|port| port.to_string()).collect();
        format!("[{}]", ports.join(", "))
    };
    let everywhere = |count| SMALLEST.replace("[443]", &ports(count));
    assert!(Config::parse(&everywhere(4096), "").is_ok());
    refused(
        "[443]",
        &ports(4097),
        "i.toml:9:9: up to here 4097 pairs of address and port are listed, and 4096 are the most",
        "= list fewer ports, or fewer addresses for them",
    );
    // With the port of the smallest configuration, one too many; and it is said once.
    let two = "address = [\"192.0.2.1\", \"192.0.2.2\"]";
    let more = format!("[[listen]]\nports = {}\n{two}\n", ports(2047));
    assert!(Config::parse(&format!("{SMALLEST}{more}"), "").is_ok());
    let more = format!(
        "[[listen]]\nports = {}\n{two}\n[[listen]]\nports = [80]\n{two}\n[[listen]]\nports = [81]",
        ports(2047)
    );
    refused(
        "",
        &more,
        "i.toml:14:9: up to here 4097 pairs of address and port are listed, and 4096 are the most",
        "= list fewer ports, or fewer addresses for them",
    );
}
