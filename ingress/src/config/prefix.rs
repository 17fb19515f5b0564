//! Which IPv6 prefixes make sense where.

use std::{fmt, net::Ipv6Addr};

use ipnet::Ipv6Net;

/// The prefix in which backends see IPv4 clients, in one of the forms of RFC 6052 §2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nat46Prefix(Ipv6Net);

/// What is wrong with a prefix, and what would be right.
pub(super) struct PrefixError {
    pub what: String,
    pub remedy: String,
}

const GLOBAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const UNIQUE_LOCAL: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
const WELL_KNOWN: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// RFC 8215.
const LOCAL_USE: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48);

impl Nat46Prefix {
    /// The lengths that RFC 6052 knows.
    pub const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

    /// The prefix as a network.
    pub const fn network(self) -> Ipv6Net {
        self.0
    }

    pub(super) fn parse(text: &str) -> Result<Self, PrefixError> {
        let network = network(text)?;
        if !Self::LENGTHS.contains(&network.prefix_len()) {
            return Err(PrefixError {
                what: format!("a NAT46 prefix cannot be a /{}", network.prefix_len()),
                remedy: "RFC 6052 knows /32, /40, /48, /56, /64 and /96".to_owned(),
            });
        }
        // Octet 8, bits 64 to 71: only a /96 reaches that far.
        if network.addr().octets()[8] != 0 {
            let mut octets = network.addr().octets();
            octets[8] = 0;
            let right = Ipv6Net::new_assert(octets.into(), network.prefix_len());
            return Err(PrefixError {
                what: format!("bits 64 to 71 of the NAT46 prefix {network} are not zero"),
                remedy: format!("RFC 6052 wants them zero, as in {right}"),
            });
        }
        if ![GLOBAL, UNIQUE_LOCAL, WELL_KNOWN, LOCAL_USE].iter().any(|net| net.contains(&network)) {
            return Err(PrefixError {
                what: format!("{network} cannot be a NAT46 prefix"),
                remedy: "take 64:ff9b:1::/96, or a prefix of your own inside 2000::/3 or fc00::/7"
                    .to_owned(),
            });
        }
        Ok(Self(network))
    }
}

impl Default for Nat46Prefix {
    fn default() -> Self {
        Self(Ipv6Net::new_assert(LOCAL_USE.addr(), 96))
    }
}

impl fmt::Display for Nat46Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A prefix that may lie behind a tunnel.
pub(super) fn site_prefix(text: &str) -> Result<Ipv6Net, PrefixError> {
    let network = network(text)?;
    if ![GLOBAL, UNIQUE_LOCAL].iter().any(|net| net.contains(&network)) {
        return Err(PrefixError {
            what: format!("{network} cannot be routed to a site"),
            remedy: "only global unicast (2000::/3) and unique local (fc00::/7) prefixes can"
                .to_owned(),
        });
    }
    if network.prefix_len() < 32 {
        return Err(PrefixError {
            what: format!("{network} is too large to be a site's own"),
            remedy: "a site has a prefix between /32 and /128, mostly a /64 or a part of one"
                .to_owned(),
        });
    }
    Ok(network)
}

fn network(text: &str) -> Result<Ipv6Net, PrefixError> {
    let network: Ipv6Net = text.parse().map_err(|_| PrefixError {
        what: format!("{text:?} is not an IPv6 prefix"),
        remedy: if text.parse::<Ipv6Addr>().is_ok() {
            format!("write \"{text}/128\" for the one address")
        } else {
            "write an address, a slash and a length, as in \"2001:db8:1:0:1::/80\"".to_owned()
        },
    })?;
    if network.addr() != network.network() {
        return Err(PrefixError {
            what: format!("{text} has bits set beyond its length"),
            remedy: format!("write \"{}\"", network.trunc()),
        });
    }
    Ok(network)
}
