//! Which of a name's addresses the VPS may forward to.

use std::{fmt, net::Ipv6Addr};

use crate::config::Site;

/// Every address of a name lies outside the sites' prefixes: the name is somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsidePrefixes(pub Vec<Ipv6Addr>);

/// The most addresses of a name that are tried: with the waits for those that are silent, a quarter of a minute.
const MOST_TRIED: usize = 8;

/// The first addresses inside a site's prefixes, with the index of that site, in their order; never empty.
pub fn select(
    addresses: &[Ipv6Addr],
    sites: &[Site],
) -> Result<Vec<(Ipv6Addr, usize)>, OutsidePrefixes> {
    let site_of = |address| sites.iter().position(|site| site.owns(address));
    let inside: Vec<_> = addresses
        .iter()
        .filter_map(|&address| site_of(address).map(|site| (address, site)))
        .take(MOST_TRIED)
        .collect();
    if inside.is_empty() { Err(OutsidePrefixes(addresses.to_vec())) } else { Ok(inside) }
}

impl fmt::Display for OutsidePrefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.0.iter().map(Ipv6Addr::to_string).collect();
        write!(f, "{} outside every site's prefixes", addresses.join(", "))
    }
}

impl std::error::Error for OutsidePrefixes {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::InterfaceName;

    #[test]
    fn only_addresses_of_sites_pass() {
        let site = |name: &str, prefix: &str| Site {
            name: name.to_owned(),
            interface: InterfaceName::new("wg0").unwrap(),
            prefixes: vec![prefix.parse().unwrap()],
        };
        let sites = [site("a", "2001:db8:1::/64"), site("b", "2001:db8:2::/64")];
        let [inside, other, outside] =
            ["2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1"].map(|a| a.parse().unwrap());
        assert_eq!(select(&[outside, other, inside], &sites), Ok(vec![(other, 1), (inside, 0)]));
        assert_eq!(select(&[outside], &sites), Err(OutsidePrefixes(vec![outside])));
        let many = [vec![outside; 20], vec![inside; 20]].concat();
        assert_eq!(select(&many, &sites), Ok(vec![(inside, 0); MOST_TRIED]));
    }
}
