//! Whom packets are handed to, where the routing tables leave no doubt: one route, one router. Otherwise the kernel
//! is asked for each packet, and so for neighbours on the link itself.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ingress_common::maps::{Destination, Route};
use ipnet::{Ipv4Net, Ipv6Net};

use crate::netlink::{self, Link, Snapshot};

/// Routers, by what is behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NextHops {
    /// Of entries in `ROUTES`. What is missing, the kernel is asked.
    pub v6: HashMap<Ipv6Net, Ipv6Addr>,
    /// All of `ROUTES4`, since a prefix without a router is part of a larger one that may have one.
    pub v4: HashMap<Ipv4Net, Option<Ipv4Addr>>,
}

impl NextHops {
    /// What is known of `routes`. `tunnels` are the links of sites, by number.
    pub fn of(
        network: &Snapshot,
        routes: &HashMap<Ipv6Net, Route>,
        uplink: Option<&Link>,
        tunnels: &HashMap<u16, &Link>,
    ) -> Self {
        let mut all = Self::default();
        let with_neighbours = |link: &&Link| link.ethernet;
        if network.rules.usual6 {
            let known = by_destination(&network.routes);
            for (net, route) in routes {
                let link = match route.destination() {
                    Destination::World => uplink,
                    Destination::Site => tunnels.get(&route.site).copied(),
                    Destination::Kernel | Destination::Nat46 | Destination::Here => None,
                };
                let router =
                    link.filter(with_neighbours).and_then(|link| router6(&known, net, link));
                all.v6.extend(router.map(|router| (*net, router)));
            }
        }
        if network.rules.usual4
            && let Some(uplink) = uplink.filter(with_neighbours)
        {
            let known = by_destination(&network.routes4);
            all.v4 =
                known.into_iter().map(|(net, routes)| (net, router(&routes, uplink))).collect();
        }
        all
    }

    /// Every router of either family; one may come more than once.
    pub fn routers(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.values().flatten().copied().map(IpAddr::V4);
        self.v6.values().copied().map(IpAddr::V6).chain(v4)
    }
}

type ByDestination<'a, Net, Address> = HashMap<Net, Vec<&'a netlink::Route<Net, Address>>>;

fn by_destination<Net: Copy + Eq + Hash, Address>(
    routes: &[netlink::Route<Net, Address>],
) -> ByDestination<'_, Net, Address> {
    let mut sorted: ByDestination<'_, Net, Address> = HashMap::new();
    for route in routes {
        sorted.entry(route.destination).or_default().push(route);
    }
    sorted
}

/// The router of the longest route around `net`, which is an entry's own or, for a site's prefix, one that has it in it.
fn router6(
    known: &ByDestination<'_, Ipv6Net, Ipv6Addr>,
    net: &Ipv6Net,
    link: &Link,
) -> Option<Ipv6Addr> {
    let around = |len| Ipv6Net::new(net.addr(), len).ok().map(|net| net.trunc());
    let routes = (0..=net.prefix_len()).rev().find_map(|len| known.get(&around(len)?))?;
    router(routes, link)
}

/// Of several routes to one destination the kernel chooses, and not by metric alone.
fn router<Net, Address: Copy>(
    routes: &[&netlink::Route<Net, Address>],
    link: &Link,
) -> Option<Address> {
    match routes {
        [route] if route.through == [link.index] => route.router,
        _ => None,
    }
}

#[cfg(test)]
mod tests;
