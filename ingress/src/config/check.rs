//! From the file's shape to a [`Config`], with every problem found on the way.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    path::PathBuf,
    time::Duration,
};

use ipnet::Ipv6Net;
use toml::Spanned;

use super::{
    Config, Control, DEFAULT_SOCKET, Daemon, Dns, InterfaceName, Listen, Metrics, Nat46Prefix,
    Problem, Site, Uplink, host_name,
    prefix::site_prefix,
    raw::{
        OneOrMany, RawConfig, RawControl, RawDaemon, RawDns, RawListen, RawMetrics, RawNat46,
        RawSite, RawUplink,
    },
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_BPFFS: &str = "/sys/fs/bpf/ingress";
const DEFAULT_FLOWS: u32 = 1 << 20;
const MOST_FLOWS: u32 = 1 << 25;

/// Checks everything, so that the operator corrects a file once and not line by line.
pub(super) fn check(raw: RawConfig, text: &str) -> Result<Config, Vec<Problem>> {
    let mut check = Check { text, problems: Vec::new() };
    let uplink = check.uplink(raw.uplink);
    let nat46_span = raw.nat46.as_ref().map(|nat46| nat46.prefix.span());
    let nat46 = check.nat46(raw.nat46);
    let sites = check.sites(raw.site, uplink.as_ref());
    if let Some(nat46) = nat46 {
        check.nat46_apart_from_sites(nat46, nat46_span, &sites);
    }
    let listen = check.listen(raw.listen);
    let dns = check.dns(raw.dns);
    let sites: Vec<Site> = sites.into_iter().map(|site| site.site).collect();
    let hosts = check.hosts(raw.hosts, &sites);
    let metrics = check.metrics(raw.metrics);
    let control = check.control(raw.control);
    let daemon = check.daemon(raw.daemon);

    match (uplink, nat46, check.problems.is_empty()) {
        (Some(uplink), Some(nat46), true) => {
            Ok(Config { uplink, sites, nat46, listen, dns, hosts, metrics, control, daemon })
        }
        (_, _, _) => {
            check.problems.sort_by_key(|problem| {
                problem.place.as_ref().map(|place| (place.line, place.column))
            });
            Err(check.problems)
        }
    }
}

struct Check<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

/// A site whose prefixes still know where they stand.
struct PlacedSite {
    site: Site,
    prefixes: Vec<Spanned<Ipv6Net>>,
}

impl Check<'_> {
    fn uplink(&mut self, raw: Option<RawUplink>) -> Option<Uplink> {
        let Some(raw) = raw else {
            self.missing("there is no [uplink]", "add [uplink] with interface = \"eth0\"");
            return None;
        };
        let interface = self.interface(&raw.interface)?;
        Some(Uplink { interface, xdp: raw.xdp })
    }

    fn interface(&mut self, name: &Spanned<String>) -> Option<InterfaceName> {
        let wrong = |problem| format!("the interface name {:?} {problem}", name.get_ref());
        match InterfaceName::new(name.get_ref()) {
            Ok(name) => Some(name),
            Err(problem) => {
                self.at(name, wrong(problem), "`ip link` lists the interfaces of this machine");
                None
            }
        }
    }

    fn nat46(&mut self, raw: Option<RawNat46>) -> Option<Nat46Prefix> {
        let Some(raw) = raw else { return Some(Nat46Prefix::default()) };
        Nat46Prefix::parse(raw.prefix.get_ref())
            .map_err(|error| self.at(&raw.prefix, error.what, error.remedy))
            .ok()
    }

    fn sites(&mut self, raw: Vec<RawSite>, uplink: Option<&Uplink>) -> Vec<PlacedSite> {
        if raw.is_empty() {
            let remedy = "add [[site]] with name, interface and prefixes";
            self.missing("there is no [[site]]", remedy);
        }
        let mut sites = Vec::new();
        for raw in raw {
            let site = self.site(raw, uplink, &sites);
            sites.extend(site);
        }
        sites
    }

    fn site(
        &mut self,
        raw: RawSite,
        uplink: Option<&Uplink>,
        earlier: &[PlacedSite],
    ) -> Option<PlacedSite> {
        let name = raw.name.get_ref().as_str();
        if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.at(
                &raw.name,
                format!("the site name {name:?} is empty or has spaces"),
                "it is a label of metrics: take one word",
            );
        }
        if earlier.iter().any(|other| other.site.name == name) {
            let what = format!("there are two sites named {name:?}");
            self.at(&raw.name, what, "give each site a name of its own");
        }
        let interface = self.interface(&raw.interface);
        if let Some(interface) = &interface {
            if uplink.is_some_and(|uplink| uplink.interface == *interface) {
                let what = format!("site {name:?} is behind {interface}, which is the uplink");
                self.at(&raw.interface, what, "name the tunnel to the site, as in \"wg0\"");
            }
            if let Some(other) = earlier.iter().find(|other| other.site.interface == *interface) {
                let what = format!("{interface} is already the tunnel of {:?}", other.site.name);
                self.at(&raw.interface, what, "list all prefixes of one tunnel in one [[site]]");
            }
        }
        if raw.prefixes.get_ref().is_empty() {
            let what = format!("site {name:?} has no prefix");
            self.at(&raw.prefixes, what, "list what lies behind its tunnel");
        }
        let mut prefixes: Vec<Spanned<Ipv6Net>> = Vec::new();
        for text in raw.prefixes.get_ref() {
            let Some(prefix) = self.site_prefix(text) else { continue };
            let others = earlier
                .iter()
                .flat_map(|other| other.prefixes.iter().map(|p| (other.site.name.as_str(), p)))
                .chain(prefixes.iter().map(|p| (name, p)));
            let overlap = others
                .filter(|(_, other)| overlap(other.get_ref(), prefix.get_ref()))
                .map(|(site, other)| (site.to_owned(), other.clone()))
                .next();
            if let Some((site, other)) = overlap {
                let line = self.line(&other);
                let (prefix, other) = (prefix.get_ref(), other.get_ref());
                self.at(
                    text,
                    format!("{prefix} overlaps {other} of site {site:?} in line {line}"),
                    "an address belongs to one site: make the prefixes disjoint",
                );
            }
            prefixes.push(prefix);
        }
        let site = Site {
            name: name.to_owned(),
            interface: interface?,
            prefixes: prefixes.iter().map(|prefix| *prefix.get_ref()).collect(),
        };
        Some(PlacedSite { site, prefixes })
    }

    fn site_prefix(&mut self, text: &Spanned<String>) -> Option<Spanned<Ipv6Net>> {
        site_prefix(text.get_ref())
            .map(|prefix| Spanned::new(text.span(), prefix))
            .map_err(|error| self.at(text, error.what, error.remedy))
            .ok()
    }

    fn nat46_apart_from_sites(
        &mut self,
        nat46: Nat46Prefix,
        span: Option<std::ops::Range<usize>>,
        sites: &[PlacedSite],
    ) {
        for PlacedSite { site, prefixes } in sites {
            for prefix in prefixes {
                if !overlap(prefix.get_ref(), &nat46.network()) {
                    continue;
                }
                let place = Spanned::new(span.clone().unwrap_or(prefix.span()), ());
                let what = format!(
                    "{nat46} of [nat46] overlaps {} of site {:?}",
                    prefix.get_ref(),
                    site.name
                );
                self.at(&place, what, "no server may have an address inside the NAT46 prefix");
            }
        }
    }

    fn listen(&mut self, raw: Vec<RawListen>) -> Vec<Listen> {
        if raw.is_empty() {
            self.missing("there is no [[listen]]", "add [[listen]] with ports = [443]");
        }
        // A wildcard stands as None.
        let mut taken: Vec<(NonZeroU16, Option<Ipv4Addr>, usize)> = Vec::new();
        let mut listen = Vec::new();
        for raw in raw {
            let addresses = raw.address.map_or_else(Vec::new, |list| self.addresses(&list));
            if raw.ports.get_ref().is_empty() {
                self.at(&raw.ports, "no port is listed", "list at least one, as in [443]");
            }
            let mut ports = Vec::new();
            for number in raw.ports.get_ref() {
                let Some(port) = self.port(number) else { continue };
                let mine: Vec<_> = if addresses.is_empty() {
                    vec![None]
                } else {
                    addresses.iter().copied().map(Some).collect()
                };
                let other = taken.iter().find(|(other, address, _)| {
                    *other == port
                        && (address.is_none() || mine.contains(&None) || mine.contains(address))
                });
                match other {
                    Some((_, _, line)) => {
                        let what = format!("port {port} is already listed in line {line}");
                        self.at(number, what, "list a port once for each address");
                    }
                    None => {
                        let line = self.line(number);
                        taken.extend(mine.into_iter().map(|address| (port, address, line)));
                        ports.push(port);
                    }
                }
            }
            let default_host = raw.default_host.and_then(|name| self.host_name(&name));
            listen.push(Listen { ports, protocol: raw.protocol, addresses, default_host });
        }
        listen
    }

    fn port(&mut self, number: &Spanned<i64>) -> Option<NonZeroU16> {
        let port = u16::try_from(*number.get_ref()).ok().and_then(NonZeroU16::new);
        if port.is_none() {
            let what = format!("{} is not a port", number.get_ref());
            self.at(number, what, "a port is a number from 1 to 65535");
        }
        port
    }

    fn addresses(&mut self, list: &Spanned<OneOrMany>) -> Vec<Ipv4Addr> {
        if list.get_ref().0.is_empty() {
            let remedy = "leave `address` out to listen on every IPv4 address of the uplink";
            self.at(list, "no address is listed", remedy);
        }
        let mut addresses = Vec::new();
        for text in &list.get_ref().0 {
            match text.parse::<Ipv4Addr>() {
                Ok(address)
                    if address.is_unspecified()
                        || address.is_multicast()
                        || address.is_loopback()
                        || address.is_broadcast() =>
                {
                    self.at(
                        list,
                        format!("{address} is not an address that the world can reach"),
                        "name one of the uplink, or leave `address` out for all of them",
                    );
                }
                Ok(address) => addresses.push(address),
                Err(_) => {
                    let what = format!("{text:?} is not an IPv4 address");
                    self.at(list, what, "write it as in \"192.0.2.1\", without a port");
                }
            }
        }
        addresses.dedup();
        addresses
    }

    fn host_name(&mut self, name: &Spanned<String>) -> Option<String> {
        match host_name(name.get_ref()) {
            Ok(name) => Some(name),
            Err(problem) => {
                let what = format!("the host name {:?} {problem}", name.get_ref());
                self.at(name, what, "write a full name, as in \"www.example.org\"");
                None
            }
        }
    }

    fn dns(&mut self, raw: RawDns) -> Dns {
        let mut servers = Vec::new();
        for text in &raw.servers {
            match server(text.get_ref()) {
                Some(server) => servers.push(server),
                None => self.at(
                    text,
                    format!("{:?} is not the address of a DNS server", text.get_ref()),
                    "write an IP address, or with a port as in \"127.0.0.1:5353\" or \"[::1]:5353\"",
                ),
            }
        }
        let timeout = raw.timeout.map_or(DEFAULT_TIMEOUT, |timeout| {
            let seconds = *timeout.get_ref();
            if (0.1..=10.0).contains(&seconds) {
                return Duration::from_secs_f64(seconds);
            }
            let what = format!("a timeout of {seconds} s makes no sense here");
            self.at(&timeout, what, "it is in seconds, from 0.1 to 10");
            DEFAULT_TIMEOUT
        });
        Dns { servers, timeout }
    }

    fn hosts(
        &mut self,
        raw: BTreeMap<Spanned<String>, Spanned<OneOrMany>>,
        sites: &[Site],
    ) -> BTreeMap<String, Vec<Ipv6Addr>> {
        let mut hosts = BTreeMap::new();
        for (name, list) in raw {
            let addresses = self.host_addresses(&list, sites);
            let Some(host) = self.host_name(&name) else { continue };
            if hosts.insert(host, addresses).is_some() {
                let what = format!("the host {:?} is listed twice", name.get_ref());
                self.at(&name, what, "host names do not differ by case or a dot at the end");
            }
        }
        hosts
    }

    fn host_addresses(&mut self, list: &Spanned<OneOrMany>, sites: &[Site]) -> Vec<Ipv6Addr> {
        if list.get_ref().0.is_empty() {
            self.at(list, "no address is listed", "name at least one, or leave the host out");
        }
        let mut addresses = Vec::new();
        for text in &list.get_ref().0 {
            let Ok(address) = text.parse::<Ipv6Addr>() else {
                let what = format!("{text:?} is not an IPv6 address");
                self.at(list, what, "write it as in \"2001:db8:1:0:1::9\"");
                continue;
            };
            // Without a valid site every address would be outside, which helps nobody.
            if !sites.is_empty() && !sites.iter().any(|site| site.owns(address)) {
                let all: Vec<String> =
                    sites.iter().flat_map(|s| &s.prefixes).map(Ipv6Net::to_string).collect();
                self.at(
                    list,
                    format!("{address} lies outside every site's prefixes"),
                    format!("take an address of {}, or add its prefix to a site", all.join(", ")),
                );
            }
            addresses.push(address);
        }
        addresses
    }

    fn metrics(&mut self, raw: RawMetrics) -> Metrics {
        let listen = raw.listen.and_then(|text| {
            let listen = text.get_ref().parse::<SocketAddr>().ok().filter(|at| at.port() != 0);
            if listen.is_none() {
                let what = format!("{:?} is not an address and port", text.get_ref());
                self.at(&text, what, "write it as in \"127.0.0.1:9469\" or \"[::1]:9469\"");
            }
            listen
        });
        Metrics { listen }
    }

    fn control(&mut self, raw: RawControl) -> Control {
        Control { socket: self.path(raw.socket, DEFAULT_SOCKET) }
    }

    fn daemon(&mut self, raw: RawDaemon) -> Daemon {
        let bpffs = self.path(raw.bpffs, DEFAULT_BPFFS);
        let flows = raw.flows.map_or(DEFAULT_FLOWS, |number| {
            let flows = u32::try_from(*number.get_ref()).unwrap_or(0);
            if flows == 0 || flows > MOST_FLOWS {
                let what = format!("a table of {} flows cannot be", number.get_ref());
                self.at(&number, what, format!("take a number from 1 to {MOST_FLOWS}"));
            }
            flows
        });
        Daemon { bpffs, flows }
    }

    fn path(&mut self, path: Option<Spanned<String>>, default: &str) -> PathBuf {
        let Some(path) = path else { return PathBuf::from(default) };
        if !path.get_ref().starts_with('/') || path.get_ref().contains('\0') {
            let what = format!("{:?} is not an absolute path", path.get_ref());
            self.at(&path, what, format!("write it from the root, as in {default:?}"));
        }
        PathBuf::from(path.into_inner())
    }

    fn line<T>(&self, place: &Spanned<T>) -> usize {
        self.text[..place.span().start].matches('\n').count() + 1
    }

    fn at<T>(&mut self, place: &Spanned<T>, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::at(self.text, place.span(), what, remedy));
    }

    fn missing(&mut self, what: &str, remedy: &str) {
        self.problems.push(Problem::missing(what, remedy));
    }
}

fn overlap(a: &Ipv6Net, b: &Ipv6Net) -> bool {
    a.contains(b) || b.contains(a)
}

/// `host[:port]`, where the host is an address: the name of a DNS server would need a DNS server.
fn server(text: &str) -> Option<SocketAddr> {
    const DNS: u16 = 53;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, DNS)),
        Err(_) => text.parse().ok().filter(|server: &SocketAddr| server.port() != 0),
    }
}
