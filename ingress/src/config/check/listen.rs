//! Listeners, which must not share a port on an address.

use std::{net::Ipv4Addr, num::NonZeroU16};

use ingress_common::maps::MAX_LISTENERS;
use toml::Spanned;

use super::{
    super::{
        Listen,
        raw::{OneOrMany, RawListen},
    },
    Check,
};

impl Check<'_> {
    pub fn listen(&mut self, raw: Vec<RawListen>) -> Vec<Listen> {
        if raw.is_empty() {
            self.missing("there is no [[listen]]", "add [[listen]] with ports = [443]");
        }
        // A wildcard stands as None.
        let mut taken: Vec<(NonZeroU16, Option<Ipv4Addr>, usize)> = Vec::new();
        let mut listen = Vec::new();
        for raw in raw {
            let before = taken.len();
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
            // Said of the first that has no room. A port on all addresses takes at least one place.
            let most = MAX_LISTENERS as usize;
            if before <= most && taken.len() > most {
                let what = format!(
                    "up to here {} pairs of address and port are listed, and {most} are the most",
                    taken.len()
                );
                self.at(&raw.ports, what, "list fewer ports, or fewer addresses for them");
            }
            let default_host = raw.default_host.and_then(|name| self.host_name(&name));
            listen.push(Listen {
                ports,
                protocol: raw.protocol,
                addresses,
                default_host,
                timestamps: raw.timestamps.unwrap_or(true),
            });
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
                Ok(address) if addresses.contains(&address) => {}
                Ok(address) => addresses.push(address),
                Err(_) => {
                    let what = format!("{text:?} is not an IPv4 address");
                    self.at(list, what, "write it as in \"192.0.2.1\", without a port");
                }
            }
        }
        addresses
    }
}
