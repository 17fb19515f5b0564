//! WireGuard tunnels: when a peer was last heard of, and what it may send and receive. The kernel's own
//! WireGuard is asked over netlink, one in userspace over its socket.

mod kernel;
mod userspace;

use std::{io, path::Path};

use ipnet::{IpNet, Ipv6Net};

/// Where implementations in userspace have their sockets.
const SOCKETS: &str = "/var/run/wireguard";

/// The other end of a tunnel, of which one device can have many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its public key; only the kernel's are read.
    pub key: [u8; 32],
    /// When it was last heard of, as a Unix time; none if never.
    pub last_handshake: Option<u64>,
    /// What is sent to it and accepted from it.
    pub allowed_ips: Vec<IpNet>,
}

/// The peers of a device, or none where it is no WireGuard device. Blocks for a second at most.
///
/// # Errors
/// Where it is one, and may not be read (CAP_NET_ADMIN is needed) or does not answer.
pub fn peers(interface: &str) -> io::Result<Option<Vec<Peer>>> {
    match kernel::peers(interface)? {
        Some(peers) => Ok(Some(peers)),
        None => userspace::peers(Path::new(SOCKETS), interface),
    }
}

/// When any peer that carries one of the prefixes was last heard of.
#[must_use]
pub fn last_handshake(peers: &[Peer], prefixes: &[Ipv6Net]) -> Option<u64> {
    let carries = |peer: &&Peer| prefixes.iter().any(|prefix| peer.carries_some_of(prefix));
    peers.iter().filter(carries).filter_map(|peer| peer.last_handshake).max()
}

impl Peer {
    /// Whether all of a prefix goes to this peer.
    #[must_use]
    pub fn carries(&self, prefix: &Ipv6Net) -> bool {
        self.allowed_ips.iter().any(|net| net.contains(&IpNet::V6(*prefix)))
    }

    fn carries_some_of(&self, prefix: &Ipv6Net) -> bool {
        let prefix = IpNet::V6(*prefix);
        self.allowed_ips.iter().any(|net| net.contains(&prefix) || prefix.contains(net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(allowed: &str, last_handshake: Option<u64>) -> Peer {
        let allowed_ips = vec![allowed.parse().unwrap()];
        Peer { allowed_ips, last_handshake, ..Peer::default() }
    }

    #[test]
    fn only_peers_of_the_site_count() {
        let site = ["2001:db8:1::/64".parse().unwrap()];
        let peers = [peer("2001:db8:2::/64", Some(9)), peer("2001:db8:1::9/128", Some(5))];
        assert_eq!(last_handshake(&peers, &site), Some(5));
        assert_eq!(last_handshake(&peers[..1], &site), None);
        assert_eq!(last_handshake(&[peer("::/0", Some(7))], &site), Some(7));
        assert!(!peers[1].carries(&site[0]));
        assert!(peer("::/0", None).carries(&site[0]));
    }
}
