//! Everything that can become of a packet, and the reasons for which one is dropped.

use crate::maps::COUNTERS;

const _: () = {
    assert!(DropReason::ALL.len() <= COUNTERS as usize);
    assert!(Cookie::ALL.len() <= COUNTERS as usize);
    assert!(Traffic::ALL.len() <= COUNTERS as usize);
};

/// What becomes of a packet. It becomes an action in two places: at the end of every way at tc, and at XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not ours, or better answered by the kernel: go on as if we were not there.
    Kernel,
    /// Rewritten; leaves through the device.
    Forward(Egress),
    /// Turned into our answer; leaves the way it came.
    Reflect,
    /// Handed to the daemon; nothing is left to forward.
    Upcall,
    /// A bare acknowledgment of a handshake that has no state here, and needs none.
    Absorb,
    /// Ends here, counted.
    Drop(DropReason),
}

/// The device a packet leaves through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Interface index.
    pub ifindex: u32,
    /// Whether the device wants an Ethernet header and a neighbour.
    pub ethernet: bool,
    /// Which neighbour: index in `NEXT_HOPS`, or [`ASK_KERNEL`](crate::maps::ASK_KERNEL).
    pub next_hop: u8,
}

macro_rules! counted {
    ($(#[$outer:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $label:literal,)+ }) => {
        $(#[$outer])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// Every value, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in metrics and on the command line.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }

            /// A sentence for the operator.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

counted! {
    /// Why a packet ended here: the counter, the row of `ingressctl drops`, the label of the metric.
    DropReason {
        /// A header that contradicts itself or the packet's length.
        Malformed = "malformed",
        /// From the uplink, with a source address of a site or of the NAT46 prefix, or to a site with one of this host.
        SpoofedFromWorld = "spoofed_from_world",
        /// From a tunnel, with a source address outside its site's prefixes.
        SpoofedFromSite = "spoofed_from_site",
        /// From the uplink to the NAT46 prefix, which nobody outside may use.
        Nat46FromWorld = "nat46_from_world",
        /// A fragment of IPv4 TCP to a listed port.
        Ipv4Fragment = "ipv4_fragment",
        /// IPv4 options on a packet to a listed port.
        Ipv4Options = "ipv4_options",
        /// A SYN with data or with flags that do not go with it.
        OddSyn = "odd_syn",
        /// A SYN while no daemon is alive; the client's retry finds the next one.
        DaemonAway = "daemon_away",
        /// To a listed port, neither of a flow nor with a valid cookie; or an ICMP error about such a connection.
        NoFlow = "no_flow",
        /// From a site to the NAT46 prefix, of no flow.
        NoFlowFromSite = "no_flow_from_site",
        /// A reset for a connection that is not there.
        StrayReset = "stray_reset",
        /// Of a flow, but larger than the next device takes.
        TooBig = "too_big",
        /// Of a flow, hop limit used up.
        HopLimit = "hop_limit",
        /// Of a flow whose site has no working tunnel.
        SiteDown = "site_down",
        /// The ring buffer to the daemon is full.
        UpcallOverflow = "upcall_overflow",
        /// More packets asked for an answer than the rate limit allows.
        RateLimited = "rate_limited",
        /// The kernel refused to resize or redirect the packet.
        KernelRefused = "kernel_refused",
        /// A protocol that NAT46 does not carry.
        Untranslatable = "untranslatable",
        /// From a client that `deny_clients` has, or `allow_clients` has not.
        ClientDenied = "client_denied",
        /// From the uplink to a site, where no rule of the closed policy lets it in and nothing asked for it.
        PolicyClosed = "policy_closed",
        /// Of a flow whose ends do nothing but answer each other's acknowledgments, without an end.
        AckStorm = "ack_storm",
    }
}

counted! {
    /// What became of SYN cookies.
    Cookie {
        /// SYNs answered with a cookie.
        Sent = "sent",
        /// Bare acknowledgments of a cookie, on a tuple without a flow.
        Acknowledged = "acknowledged",
        /// Segments with data and a valid cookie.
        Accepted = "accepted",
        /// Acknowledgments of no cookie of ours.
        Rejected = "rejected",
        /// Bare acknowledgments of a cookie, on a tuple that still has the flow of an earlier connection: the
        /// shield leaves such SYNs to the program at tc.
        Reopened = "reopened",
    }
}

/// The counters in `TRAFFIC`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// IPv6, from the world to a site.
    Ipv6In,
    /// IPv6, from a site to the world or to another site.
    Ipv6Out,
    /// Spliced, client to backend.
    Nat46In,
    /// Spliced, backend to client.
    Nat46Out,
}

impl Traffic {
    /// Every counter, in the order of their numbers.
    pub const ALL: &[Self] = &[Self::Ipv6In, Self::Ipv6Out, Self::Nat46In, Self::Nat46Out];

    /// Label `path` of the metric.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Ipv6In | Self::Ipv6Out => "ipv6",
            Self::Nat46In | Self::Nat46Out => "nat46",
        }
    }

    /// Label `direction` of the metric.
    #[must_use]
    pub const fn direction(self) -> &'static str {
        match self {
            Self::Ipv6In | Self::Nat46In => "in",
            Self::Ipv6Out | Self::Nat46Out => "out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_index_the_tables() {
        for (nth, drop) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*drop as usize, nth);
            assert!(drop.description().ends_with('.'), "{}", drop.description());
        }
        for (nth, cookie) in Cookie::ALL.iter().enumerate() {
            assert_eq!(*cookie as usize, nth);
        }
        for (nth, traffic) in Traffic::ALL.iter().enumerate() {
            assert_eq!(*traffic as usize, nth);
        }
    }

    #[test]
    fn labels_are_unique() {
        for (nth, drop) in DropReason::ALL.iter().enumerate() {
            assert!(DropReason::ALL[..nth].iter().all(|other| other.label() != drop.label()));
        }
    }
}
