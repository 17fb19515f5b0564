//! Sites, whose names, tunnels and prefixes must not meet each other, the uplink or the NAT46 prefix.

use std::ops::Range;

use ingress_common::{addr::Nat46Prefix, maps::MAX_SITES};
use ipnet::Ipv6Net;
use toml::Spanned;

use super::{
    super::{
        Site, Uplink,
        prefix::{network_of, site_prefix},
        raw::RawSite,
    },
    Check,
};

/// A site whose prefixes still know where they stand.
pub struct PlacedSite {
    pub site: Site,
    prefixes: Vec<Spanned<Ipv6Net>>,
}

impl Check<'_> {
    pub fn sites(&mut self, raw: Vec<RawSite>, uplink: Option<&Uplink>) -> Vec<PlacedSite> {
        if raw.is_empty() {
            let remedy = "add [[site]] with name, interface and prefixes";
            self.missing("there is no [[site]]", remedy);
        }
        if let Some(first) = raw.get(MAX_SITES as usize) {
            let what = format!("there are {} sites, and {MAX_SITES} are the most", raw.len());
            let remedy =
                "one tunnel can lead to several homes: list all of its prefixes in one [[site]]";
            self.at(&first.name, what, remedy);
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

    pub fn nat46_apart_from_sites(
        &mut self,
        nat46: Nat46Prefix,
        span: Option<Range<usize>>,
        sites: &[PlacedSite],
    ) {
        for PlacedSite { site, prefixes } in sites {
            for prefix in prefixes {
                if !overlap(prefix.get_ref(), &network_of(&nat46)) {
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
}

fn overlap(a: &Ipv6Net, b: &Ipv6Net) -> bool {
    a.contains(b) || b.contains(a)
}
