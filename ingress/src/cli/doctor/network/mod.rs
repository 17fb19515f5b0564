//! Interfaces, addresses, MTUs, routes, forwarding, and servers in the way.

use ingress_common::ip::IPV6_LEAST_MTU;
use ipnet::Ipv6Net;

use super::{Finding, host::Host};
use crate::{
    config::{Config, Site},
    netlink::Route,
};

/// WireGuard over IPv6: 40 for IPv6, 8 for UDP, 32 of its own.
const OVERHEAD: u32 = 80;

pub(super) fn check(host: &Host, config: &Config) -> Vec<Finding> {
    let uplink = config.uplink.interface.as_str();
    let mut findings = vec![interface(host, uplink)];
    findings.extend(address(host, config));
    findings.extend(way_out(host, uplink));
    findings.push(forwarding(host, uplink));
    for site in &config.sites {
        findings.push(interface(host, site.interface.as_str()));
        findings.extend(mtu(host, site, uplink));
        findings.extend(site.prefixes.iter().map(|prefix| route(host, site, *prefix)));
    }
    findings.extend(servers_in_the_way(host, config));
    findings
}

fn interface(host: &Host, name: &str) -> Finding {
    const CHECK: &str = "interface";
    match host.network.links.get(name) {
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

/// Where `[[listen]]` names no address, the uplink's are listened on.
fn address(host: &Host, config: &Config) -> Option<Finding> {
    let uplink = config.uplink.interface.as_str();
    let index = host.network.links.get(uplink)?.index;
    let has = host.network.addresses.iter().any(|(of, _)| *of == index);
    let wants = config.listen.iter().any(|listen| listen.addresses.is_empty());
    (wants && !has).then(|| {
        Finding::fail(
            "address",
            format!("{uplink} has no IPv4 address, so nothing is listened on"),
            "give it one, or name the address in [[listen]] address",
        )
    })
}

/// A host with interfaces but without a default route reaches nobody.
fn way_out(host: &Host, uplink: &str) -> Option<Finding> {
    const CHECK: &str = "route";
    let index = host.network.links.get(uplink)?.index;
    let world = |route: &&Route| route.forwards && route.through == [index];
    // Two halves of the world, or 2000::/3, do as well as ::/0.
    if host.network.routes.iter().filter(world).any(|route| route.destination.prefix_len() <= 3) {
        return Some(Finding::ok(CHECK, format!("IPv6 leaves through {uplink}")));
    }
    Some(Finding::fail(
        CHECK,
        format!("no IPv6 default route leads through {uplink}: no answer reaches an IPv6 client"),
        format!("ip -6 route add default via ROUTER dev {uplink}, as the provider says"),
    ))
}

fn forwarding(host: &Host, uplink: &str) -> Finding {
    const CHECK: &str = "forwarding";
    let is = |name: &str| host.read(&format!("proc/sys/net/ipv6/conf/{name}"));
    let hears_routers = is(&format!("{uplink}/accept_ra")).as_deref() == Some("1");
    if is("all/forwarding").as_deref() != Some("1") {
        let remedy = "sysctl -w net.ipv6.conf.all.forwarding=1, and the same in /etc/sysctl.d";
        return Finding::fail(
            CHECK,
            "IPv6 forwarding is off, and what the programs leave to the kernel is lost",
            // The kernel drops what routers have advertised when forwarding is turned on.
            if hears_routers {
                format!(
                    "if its default route comes by router advertisement, first sysctl -w net.ipv6.conf.{uplink}.accept_ra=2, or it is lost; then {remedy}"
                )
            } else {
                remedy.to_owned()
            },
        );
    }
    if hears_routers {
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

fn mtu(host: &Host, site: &Site, uplink: &str) -> Option<Finding> {
    const CHECK: &str = "mtu";
    let links = &host.network.links;
    let uplink = links.get(uplink).map(|link| link.mtu);
    let (mtu, name) = (links.get(site.interface.as_str())?.mtu, &site.interface);
    Some(if mtu < IPV6_LEAST_MTU {
        let what = format!("{name} has an MTU of {mtu}, too small for IPv6");
        Finding::fail(CHECK, what, format!("ip link set {name} mtu 1420"))
    } else if let Some(uplink) = uplink.filter(|uplink| mtu + OVERHEAD > *uplink) {
        Finding::warn(
            CHECK,
            format!(
                "{name} has an MTU of {mtu}, and the uplink one of {uplink}: full packets of WireGuard over IPv6 would be fragmented"
            ),
            format!(
                "ip link set {name} mtu {}, at the other end too",
                uplink.saturating_sub(OVERHEAD).max(IPV6_LEAST_MTU)
            ),
        )
    } else {
        Finding::ok(CHECK, format!("{name} fits into the uplink"))
    })
}

fn route(host: &Host, site: &Site, prefix: Ipv6Net) -> Finding {
    const CHECK: &str = "route";
    let name = site.interface.as_str();
    let remedy = format!("ip -6 route add {prefix} dev {name}");
    let best = host
        .network
        .routes
        .iter()
        .filter(|route| route.forwards && route.destination.contains(&prefix))
        .max_by_key(|route| route.destination.prefix_len());
    let Some(best) = best else {
        return Finding::fail(CHECK, format!("{prefix} is not routed"), remedy);
    };
    let names: Vec<&str> = best.through.iter().map(|index| named(host, *index)).collect();
    if names == [name] {
        return Finding::ok(CHECK, format!("{prefix} is routed to {name}"));
    }
    Finding::fail(CHECK, format!("{prefix} is routed to {}", names.join(", ")), remedy)
}

fn named(host: &Host, index: u32) -> &str {
    let known = host.network.links.iter().find(|(_, link)| link.index == index);
    known.map_or("?", |(name, _)| name)
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
mod tests;
