//! From the file's shape to a [`Config`], with every problem found on the way.

mod listen;
mod policy;
mod site;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ingress_common::addr::Nat46Prefix;
use ipnet::Ipv6Net;
use toml::Spanned;

use super::{
    Config, Control, DEFAULT_SOCKET, Daemon, Dns, InterfaceName, LONGEST_DNS_TIMEOUT, Metrics,
    Problem, Site, Uplink, host_name, prefix,
    raw::{OneOrMany, RawConfig, RawControl, RawDaemon, RawDns, RawMetrics, RawNat46, RawUplink},
};
use crate::host_name::HostName;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// `sun_path` of `struct sockaddr_un`, less the zero at its end.
const LONGEST_SOCKET: usize = 107;
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
    let defaults: Vec<Spanned<String>> =
        raw.listen.iter().filter_map(|listen| listen.default_host.clone()).collect();
    let listen = check.listen(raw.listen);
    let dns = check.dns(raw.dns);
    let sites: Vec<Site> = sites.into_iter().map(|site| site.site).collect();
    let hosts = check.hosts(raw.hosts, &sites);
    let policy = check.policy(raw.policy, raw.allow, &sites, &defaults);
    let metrics = check.metrics(raw.metrics);
    let control = check.control(raw.control);
    let daemon = check.daemon(raw.daemon);

    match (uplink, nat46, check.problems.is_empty()) {
        (Some(uplink), Some(nat46), true) => Ok(Config {
            uplink,
            sites,
            nat46,
            listen,
            dns,
            hosts,
            policy,
            metrics,
            control,
            daemon,
        }),
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
        let Some(raw) = raw else { return Some(Nat46Prefix::LOCAL_USE) };
        prefix::nat46(raw.prefix.get_ref())
            .map_err(|error| self.at(&raw.prefix, error.what, error.remedy))
            .ok()
    }

    fn host_name(&mut self, name: &Spanned<String>) -> Option<HostName> {
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
            if (0.1..=LONGEST_DNS_TIMEOUT.as_secs_f64()).contains(&seconds) {
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
    ) -> BTreeMap<HostName, Vec<Ipv6Addr>> {
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
        if let Some(path) = raw.socket.as_ref().filter(|path| path.get_ref().len() > LONGEST_SOCKET)
        {
            let what =
                format!("a path of {} octets is too long for a socket", path.get_ref().len());
            self.at(path, what, format!("the kernel takes {LONGEST_SOCKET}"));
        }
        Control { socket: self.path(raw.socket, DEFAULT_SOCKET) }
    }

    fn daemon(&mut self, raw: RawDaemon) -> Daemon {
        if let Some(path) = raw.bpffs.as_ref().filter(|path| path.get_ref().contains('.')) {
            let what = format!("there can be no dot in {:?}", path.get_ref());
            self.at(path, what, "a bpffs takes no names with dots");
        }
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

/// `host[:port]`, where the host is an address: the name of a DNS server would need a DNS server.
fn server(text: &str) -> Option<SocketAddr> {
    const DNS: u16 = 53;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, DNS)),
        Err(_) => text.parse().ok().filter(|server: &SocketAddr| server.port() != 0),
    }
}
