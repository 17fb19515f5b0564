//! WireGuard: what its peers may have, and when they were last heard of.

use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::Ipv6Net;

use super::{super::human, Finding};
use crate::{
    config::{Config, Site},
    wireguard::{self, Peer},
};

/// WireGuard makes a new handshake every two minutes while there is traffic.
const STALE: u64 = 180;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    config.sites.iter().flat_map(site).collect()
}

/// Nothing, where the tunnel is not WireGuard.
fn site(site: &Site) -> Vec<Finding> {
    let name = site.interface.as_str();
    match wireguard::peers(name) {
        Ok(None) => Vec::new(),
        Ok(Some(peers)) => vec![allowed_ips(site, &peers), heard_of(site, &peers, now())],
        Err(error) => vec![Finding::warn(
            "tunnel",
            format!("the WireGuard of {name} cannot be asked: {error}"),
            "run the doctor as root",
        )],
    }
}

fn allowed_ips(site: &Site, peers: &[Peer]) -> Finding {
    const CHECK: &str = "allowed ips";
    let name = site.interface.as_str();
    let carried = |prefix: &&Ipv6Net| !peers.iter().any(|peer| peer.carries(prefix));
    let missing: Vec<String> =
        site.prefixes.iter().filter(carried).map(Ipv6Net::to_string).collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("{name} lets the site's prefixes through"));
    }
    Finding::fail(
        CHECK,
        format!("no peer of {name} may have {}", missing.join(", ")),
        "add it to the peer's AllowedIPs here; at the other end, AllowedIPs must hold the world and the NAT46 prefix",
    )
}

fn heard_of(site: &Site, peers: &[Peer], now: u64) -> Finding {
    const CHECK: &str = "tunnel";
    let Some(last) = wireguard::last_handshake(peers, &site.prefixes) else {
        return Finding::fail(
            CHECK,
            format!("{} never had a WireGuard handshake", site.name),
            "compare keys, endpoint and port of both ends (`wg show`), and let UDP through to the VPS; set \
             PersistentKeepalive = 25 at the home",
        );
    };
    let heard = format!("{} was last heard of {}", site.name, human::ago(last));
    if now.saturating_sub(last) <= STALE {
        return Finding::ok(CHECK, heard);
    }
    Finding::warn(
        CHECK,
        heard,
        "see whether the home is on line, and set PersistentKeepalive = 25 there",
    )
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    fn site() -> Site {
        Config::of_one_home().sites.remove(0)
    }

    fn peer(allowed: &str, last_handshake: Option<u64>) -> Peer {
        let allowed_ips = vec![allowed.parse().unwrap()];
        Peer { allowed_ips, last_handshake, ..Peer::default() }
    }

    #[test]
    fn a_prefix_must_be_allowed_and_its_peer_alive() {
        for (peer, allowed, alive) in [
            (peer("2001:db8:1:0:1::/80", Some(900)), Verdict::Ok, Verdict::Ok),
            (peer("::/0", Some(700)), Verdict::Ok, Verdict::Warn),
            (peer("::/0", None), Verdict::Ok, Verdict::Fail),
            (peer("2001:db8:1:0:1::80/128", Some(900)), Verdict::Fail, Verdict::Ok),
            (peer("2001:db8:2::/48", Some(900)), Verdict::Fail, Verdict::Fail),
        ] {
            let peers = [peer];
            assert_eq!(allowed_ips(&site(), &peers).verdict, allowed, "{peers:?}");
            assert_eq!(heard_of(&site(), &peers, 1000).verdict, alive, "{peers:?}");
        }
    }
}
