//! Who may send from which address: forwarded IPv6, judged by what its source and its destination are.

use crate::{
    ip::{ICMPV6, TCP},
    maps::Destination,
};

/// Whether a packet from the uplink claims to come from where none can come from out there. To the VPS itself its router
/// may speak from any address of the routed prefix, if only for neighbour discovery.
#[inline(always)]
#[must_use]
pub const fn is_spoofed_from_world(
    source: Destination,
    destination: Destination,
    protocol: u8,
) -> bool {
    let to_site = matches!(destination, Destination::Site);
    match source {
        Destination::Site | Destination::Nat46 => to_site || protocol != ICMPV6,
        Destination::Here => to_site,
        Destination::Kernel | Destination::World => false,
    }
}

/// What the sender of a packet from a tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelSender {
    /// A host of a site, if this is the site's tunnel.
    Site,
    /// A router on the way to the backend, which speaks from an address of its own and may report an error to the NAT46
    /// prefix.
    Router,
    /// Somebody whom the kernel must judge: link-local, for one.
    Kernel,
    /// An address that nobody behind a tunnel can have.
    Spoofed,
}

impl TunnelSender {
    /// The sender, judged by what source and destination are, and by the protocol in the IPv6 header.
    #[inline(always)]
    #[must_use]
    pub const fn of(source: Destination, destination: Destination, protocol: u8) -> Self {
        let to_nat46 = matches!(destination, Destination::Nat46);
        match source {
            Destination::Site => Self::Site,
            // TCP from there is of a server that nobody has told us of.
            Destination::Kernel | Destination::Here if to_nat46 && protocol != TCP => Self::Router,
            Destination::Kernel if !to_nat46 => Self::Kernel,
            Destination::Kernel | Destination::World | Destination::Nat46 | Destination::Here => {
                Self::Spoofed
            }
        }
    }
}

/// Whether the policy must remember a packet from a site: it leaves the sites, or the kernel forwards it and it may
/// come back through us.
#[inline(always)]
#[must_use]
pub const fn leaves_the_sites(destination: Destination) -> bool {
    matches!(destination, Destination::World | Destination::Kernel | Destination::Here)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Destination; 5] = [
        Destination::Kernel,
        Destination::World,
        Destination::Site,
        Destination::Nat46,
        Destination::Here,
    ];

    #[test]
    fn the_world_has_no_address_of_ours() {
        for destination in ALL {
            let to_site = destination == Destination::Site;
            // With a segment, and with an ICMPv6 message.
            for (source, segment, message) in [
                (Destination::Kernel, false, false),
                (Destination::World, false, false),
                (Destination::Site, true, to_site),
                (Destination::Nat46, true, to_site),
                (Destination::Here, to_site, to_site),
            ] {
                for (protocol, spoofed) in [(TCP, segment), (ICMPV6, message)] {
                    let judged = is_spoofed_from_world(source, destination, protocol);
                    assert_eq!(judged, spoofed, "{source:?} to {destination:?}, {protocol}");
                }
            }
        }
    }

    #[test]
    fn every_sender_behind_a_tunnel() {
        use TunnelSender::{Kernel, Router, Site, Spoofed};
        // To the NAT46 prefix with an error, there with TCP, and to anywhere else with either.
        for (source, error, segment, elsewhere) in [
            (Destination::Site, Site, Site, Site),
            (Destination::Kernel, Router, Spoofed, Kernel),
            (Destination::Here, Router, Spoofed, Spoofed),
            (Destination::World, Spoofed, Spoofed, Spoofed),
            (Destination::Nat46, Spoofed, Spoofed, Spoofed),
        ] {
            for destination in ALL {
                for (protocol, to_nat46) in [(ICMPV6, error), (TCP, segment)] {
                    let expected =
                        if destination == Destination::Nat46 { to_nat46 } else { elsewhere };
                    let sender = TunnelSender::of(source, destination, protocol);
                    assert_eq!(sender, expected, "{source:?} to {destination:?}, {protocol}");
                }
            }
        }
    }

    #[test]
    fn what_stays_among_sites_and_flows_is_not_remembered() {
        let staying = ALL.into_iter().filter(|destination| !leaves_the_sites(*destination));
        assert!(staying.eq([Destination::Site, Destination::Nat46]));
    }
}
