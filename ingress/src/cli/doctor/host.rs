//! What `/proc` and `/sys` say of this machine.

use std::{fs, net::Ipv6Addr, path::PathBuf};

use ipnet::Ipv6Net;

/// A machine, by the root of its file system.
pub(super) struct Host {
    root: PathBuf,
}

/// A network interface.
pub(super) struct Link {
    pub up: bool,
    pub mtu: u32,
}

/// A route of the main table.
pub(super) struct Route {
    pub destination: Ipv6Net,
    pub interface: String,
}

const IFF_UP: u32 = 1;
const TCP_LISTEN: &str = "0A";

impl Host {
    pub fn here() -> Self {
        Self { root: PathBuf::from("/") }
    }

    #[cfg(test)]
    pub fn at(root: &std::path::Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    pub fn link(&self, name: &str) -> Option<Link> {
        let of = |what: &str| self.read(&format!("sys/class/net/{name}/{what}"));
        let flags = u32::from_str_radix(of("flags")?.trim_start_matches("0x"), 16).ok()?;
        Some(Link { up: flags & IFF_UP != 0, mtu: of("mtu")?.parse().ok()? })
    }

    pub fn routes(&self) -> Vec<Route> {
        let table = self.read("proc/net/ipv6_route").unwrap_or_default();
        table.lines().filter_map(route).collect()
    }

    /// The ports that a server of this machine listens on over IPv4.
    pub fn listening(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = ["proc/net/tcp", "proc/net/tcp6"]
            .iter()
            .filter_map(|table| self.read(table))
            .flat_map(|table| table.lines().skip(1).filter_map(listener).collect::<Vec<_>>())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// Destination, its length, source, its length, gateway, metric, references, uses, flags, interface.
fn route(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, length, .., interface] = fields[..] else { return None };
    let address = Ipv6Addr::from(u128::from_str_radix(destination, 16).ok()?);
    let destination = Ipv6Net::new(address, u8::from_str_radix(length, 16).ok()?).ok()?;
    Some(Route { destination, interface: interface.to_owned() })
}

/// Number, local address and port, remote ones, state. Loopback is in nobody's way.
fn listener(line: &str) -> Option<u16> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, ..] = fields[..] else { return None };
    let (address, port) = local.split_once(':')?;
    let loopback = address == "0100007F" || address == "00000000000000000000000001000000";
    if state != TCP_LISTEN || loopback {
        return None;
    }
    u16::from_str_radix(port, 16).ok()
}
