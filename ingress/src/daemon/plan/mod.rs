//! What the tables must hold, as a pure function of configuration, network and what backends were seen to lack.

mod next_hops;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4},
};

use ingress_common::{
    ip::IPV6_LEAST_MTU,
    maps::{Destination, Device, Listener, ListenerKey, MAX_LISTENERS, Offer, Route},
    tcp::HEADERS_V6,
};
use ipnet::Ipv6Net;

pub use next_hops::NextHops;

use super::shared::Listening;
use crate::{
    config::{Config, Listen, network_of},
    netlink::{Link, Snapshot},
};

/// The window scale that clients are promised: what Linux chooses with its default buffers, so that
/// windows usually pass unchanged.
const PROMISED_SCALE: u8 = 7;
/// A whole ClientHello of 16 KiB with its record headers, and no more than any backend opens with.
const WINDOW: u16 = 16_640;
/// Never forwarded, whatever routes there are: the unspecified address, the loopback, IPv4 addresses of every guise
/// that has no prefix of its own, link-local and multicast ones (RFC 4291 §2.5, 2.7).
const NEVER_FORWARDED: [Ipv6Net; 3] = [
    Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 80),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];
/// Offered when no tunnel is there yet: IPv6's least MTU less headers.
const OF_NO_TUNNEL: u32 = IPV6_LEAST_MTU - HEADERS_V6;

/// The tables' contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// `UPLINK`.
    pub uplink: Device,
    /// `SITES`, by number.
    pub sites: Vec<(u16, Device)>,
    /// `ROUTES`, next hops left out.
    pub routes: HashMap<Ipv6Net, Route>,
    /// `NEXT_HOPS` and `ROUTES4`, before the routers have numbers.
    pub next_hops: NextHops,
    /// `LISTENERS`, and what the engine needs to know of them.
    pub listening: HashMap<SocketAddrV4, Listening>,
    /// How many pairs of address and port there is no room for.
    pub unlisted: usize,
}

/// What is listened on already, with offers that were withdrawn and sizes that were lowered.
pub type Known = HashMap<ListenerKey, Listener>;

impl Plan {
    /// `LISTENERS` as the map has them.
    pub fn listeners(&self) -> HashMap<ListenerKey, Listener> {
        self.listening.iter().map(|(at, port)| (ListenerKey::new(*at), port.promise)).collect()
    }
}

/// Brings configuration and network together. `numbers` are the sites' indices in `SITES`.
pub fn plan(config: &Config, numbers: &[u16], network: &Snapshot, known: &Known) -> Plan {
    let uplink = network.links.get(config.uplink.interface.as_str());
    let tunnels: Vec<Option<&Link>> =
        config.sites.iter().map(|site| network.links.get(site.interface.as_str())).collect();
    let routes = routes(config, numbers, network, uplink, &tunnels);
    let by_number =
        numbers.iter().zip(&tunnels).filter_map(|(number, link)| Some((*number, (*link)?)));
    let (listening, unlisted) = listening(config, network, uplink, &tunnels, known);
    Plan {
        uplink: device(uplink),
        sites: numbers.iter().copied().zip(tunnels.iter().map(|link| device(*link))).collect(),
        next_hops: NextHops::of(network, &routes, uplink, &by_number.collect()),
        routes,
        listening,
        unlisted,
    }
}

fn device(link: Option<&Link>) -> Device {
    match link {
        Some(link) if link.up => Device {
            ifindex: link.index,
            mtu: link.mtu,
            ethernet: u8::from(link.ethernet),
            reserved: [0; 3],
        },
        Some(_) | None => Device::default(),
    }
}

/// The kernel's own table, seen with our eyes: what leads out through the uplink is the world, what lies in
/// a site's prefix is the site's, and everything else stays the kernel's business.
fn routes(
    config: &Config,
    numbers: &[u16],
    network: &Snapshot,
    uplink: Option<&Link>,
    tunnels: &[Option<&Link>],
) -> HashMap<Ipv6Net, Route> {
    let mut ranks: HashMap<Ipv6Net, Option<u32>> = HashMap::new();
    let mut routes = HashMap::new();
    for route in &network.routes {
        if NEVER_FORWARDED.iter().any(|net| net.contains(&route.destination)) {
            continue;
        }
        // Of two routes to one prefix the smaller metric counts; the local table comes before all.
        let rank = if route.local { None } else { Some(route.metric) };
        let known = ranks.entry(route.destination).or_insert(rank);
        if rank >= *known && routes.contains_key(&route.destination) {
            continue;
        }
        *known = rank;
        let leads = |link: Option<&Link>| {
            link.is_some_and(|link| {
                !route.through.is_empty() && route.through.iter().all(|index| *index == link.index)
            })
        };
        let site = config.sites.iter().zip(numbers).zip(tunnels).find(|((site, _), _)| {
            site.prefixes.iter().any(|prefix| prefix.contains(&route.destination))
        });
        let what = if !route.forwards && route.destination.prefix_len() > 0 {
            Route::to(Destination::Here)
        } else if let Some(((_, number), tunnel)) = site
            && leads(*tunnel)
        {
            Route::to_site(*number)
        } else if leads(uplink) {
            Route::to(Destination::World)
        } else {
            Route::to(Destination::Kernel)
        };
        routes.insert(route.destination, what);
    }
    for (site, number) in config.sites.iter().zip(numbers) {
        routes.extend(site.prefixes.iter().map(|prefix| (*prefix, Route::to_site(*number))));
    }
    routes.insert(network_of(&config.nat46), Route::to(Destination::Nat46));
    routes.extend(NEVER_FORWARDED.map(|net| (net, Route::to(Destination::Kernel))));
    routes
}

/// Every listed port on each of its addresses, with what is promised there, and how many more there is no room for: the
/// last ones in the order of the configuration.
fn listening(
    config: &Config,
    network: &Snapshot,
    uplink: Option<&Link>,
    tunnels: &[Option<&Link>],
    known: &Known,
) -> (HashMap<SocketAddrV4, Listening>, usize) {
    let mss = mss(uplink, tunnels);
    let own = addresses_of(uplink, network);
    let (mut listening, mut unlisted) = (HashMap::new(), 0);
    for listen in &config.listen {
        let addresses = if listen.addresses.is_empty() { &own } else { &listen.addresses };
        let ports = || listen.ports.iter().map(|port| port.get());
        let all = addresses
            .iter()
            .flat_map(|address| ports().map(|port| SocketAddrV4::new(*address, port)));
        for at in all {
            if listening.len() == MAX_LISTENERS as usize && !listening.contains_key(&at) {
                unlisted += 1;
                continue;
            }
            let before = known.get(&ListenerKey::new(at)).copied().unwrap_or_default();
            let promise = promise(listen, mss, before);
            let default_host = listen.default_host.clone();
            let port = Listening { protocol: listen.protocol, default_host, promise };
            listening.insert(at, port);
        }
    }
    (listening, unlisted)
}

fn addresses_of(link: Option<&Link>, network: &Snapshot) -> Vec<Ipv4Addr> {
    let of_link = |(index, _): &&(u32, Ipv4Addr)| link.is_some_and(|link| link.index == *index);
    network.addresses.iter().filter(of_link).map(|(_, address)| *address).collect()
}

/// What the configuration and the devices allow, less what was withdrawn or lowered before.
fn promise(listen: &Listen, mss: u16, before: Listener) -> Listener {
    let timestamps = if listen.timestamps { Offer::On } else { Offer::Off };
    let lowered = before.lowered != 0 && u16::from_be_bytes(before.mss) < mss;
    Listener {
        mss: if lowered { before.mss } else { mss.to_be_bytes() },
        window: WINDOW.to_be_bytes(),
        scale: PROMISED_SCALE,
        sack: unless_withdrawn(Offer::On, before.sack),
        timestamps: unless_withdrawn(timestamps, before.timestamps),
        lowered: u8::from(lowered),
    }
}

/// An offer goes on, unless a backend was seen to lack what it promises.
fn unless_withdrawn(wanted: Offer, before: u8) -> u8 {
    match (wanted, Offer::from_number(before)) {
        (Offer::On, Offer::Withdrawn) => Offer::Withdrawn as u8,
        (Offer::Off | Offer::On | Offer::Withdrawn, _) => wanted as u8,
    }
}

/// What every way that a connection may take can carry, since the backend is not known yet.
fn mss(uplink: Option<&Link>, tunnels: &[Option<&Link>]) -> u16 {
    let of_uplink = uplink.map(|link| link.mtu.saturating_sub(40));
    let of_tunnels = tunnels.iter().flatten().map(|link| link.mtu.saturating_sub(HEADERS_V6)).min();
    let mss = match (of_uplink, of_tunnels) {
        (Some(uplink), Some(tunnels)) => uplink.min(tunnels),
        (Some(one), None) | (None, Some(one)) => one.min(OF_NO_TUNNEL),
        (None, None) => OF_NO_TUNNEL,
    };
    u16::try_from(mss).unwrap_or(u16::MAX)
}
