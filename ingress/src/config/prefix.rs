//! Which IPv6 prefixes make sense where.

use std::net::Ipv6Addr;

use ingress_common::addr::{Nat46Prefix, PrefixError};
use ipnet::Ipv6Net;

/// What is wrong with a prefix, and what would be right.
pub(super) struct Flaw {
    pub what: String,
    pub remedy: String,
}

const GLOBAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const UNIQUE_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
const WELL_KNOWN: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// RFC 8215.
const LOCAL_USE: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48);

/// The prefix in which backends see IPv4 clients, in one of the forms of RFC 6052 §2.2.
pub(super) fn nat46(text: &str) -> Result<Nat46Prefix, Flaw> {
    let network = network(text)?;
    let prefix = Nat46Prefix::new(network.addr().octets(), network.prefix_len());
    let prefix = prefix.map_err(|error| match error {
        PrefixError::Length => Flaw {
            what: format!("a NAT46 prefix cannot be a /{}", network.prefix_len()),
            remedy: "RFC 6052 knows /32, /40, /48, /56, /64 and /96".to_owned(),
        },
        PrefixError::ReservedOctet => {
            let mut octets = network.addr().octets();
            octets[8] = 0;
            let right = Ipv6Net::new_assert(octets.into(), network.prefix_len());
            Flaw {
                what: format!("bits 64 to 71 of the NAT46 prefix {network} are not zero"),
                remedy: format!("RFC 6052 wants them zero, as in {right}"),
            }
        }
        PrefixError::HostBits => beyond_length(&network),
    })?;
    if ![GLOBAL, UNIQUE_LOCAL, WELL_KNOWN, LOCAL_USE].iter().any(|net| net.contains(&network)) {
        return Err(Flaw {
            what: format!("{network} cannot be a NAT46 prefix"),
            remedy: format!(
                "take {}, or a prefix of your own inside {GLOBAL} or {UNIQUE_LOCAL}",
                Nat46Prefix::LOCAL_USE
            ),
        });
    }
    Ok(prefix)
}

/// The same prefix as a network.
#[must_use]
pub fn network_of(nat46: &Nat46Prefix) -> Ipv6Net {
    Ipv6Net::new_assert(nat46.bits().into(), nat46.prefix_len())
}

/// A prefix that may lie behind a tunnel.
pub(super) fn site_prefix(text: &str) -> Result<Ipv6Net, Flaw> {
    let network = network(text)?;
    if ![GLOBAL, UNIQUE_LOCAL].iter().any(|net| net.contains(&network)) {
        return Err(Flaw {
            what: format!("{network} cannot be routed to a site"),
            remedy: "only global unicast (2000::/3) and unique local (fc00::/7) prefixes can"
                .to_owned(),
        });
    }
    if network.prefix_len() < 32 {
        return Err(Flaw {
            what: format!("{network} is too large to be a site's own"),
            remedy: "a site has a prefix between /32 and /128, mostly a /64 or a part of one"
                .to_owned(),
        });
    }
    Ok(network)
}

fn network(text: &str) -> Result<Ipv6Net, Flaw> {
    let network: Ipv6Net = text.parse().map_err(|_| Flaw {
        what: format!("{text:?} is not an IPv6 prefix"),
        remedy: if text.parse::<Ipv6Addr>().is_ok() {
            format!("write \"{text}/128\" for the one address")
        } else {
            "write an address, a slash and a length, as in \"2001:db8:1:0:1::/80\"".to_owned()
        },
    })?;
    if network.addr() == network.network() { Ok(network) } else { Err(beyond_length(&network)) }
}

fn beyond_length(network: &Ipv6Net) -> Flaw {
    Flaw {
        what: format!("{network} has bits set beyond its length"),
        remedy: format!("write \"{}\"", network.trunc()),
    }
}
