//! The operator's policy: who may reach the sites from outside, and what counts as an answer.
//!
//! The daemon compiles the configuration into tries (`ingress/src/policy`); here is what they hold and what the
//! programs decide by themselves.

mod connection;
mod extension_headers;
mod judge;
mod tables;
mod upper_layer;

pub use connection::{
    Connection, ESTABLISHED, FRESH, LINGERING, Stage, TRANSITORY, UDP_IDLE, may_have_begun_before,
};
pub use extension_headers::{
    ExtensionHeader, Fragment, MAX_EXTENSION_HEADERS, is_extension_header, is_left_out,
    parse_extension_header,
};
pub use judge::{Approach, Judgement, Rules, client_may, judge};
pub use tables::{
    ConnectionKey, EVERYBODY, FragmentKey, LISTED_CLIENTS, MAX_SERVICES, MAX_SOURCES, MAX_TARGETS,
    Place, Service, Settings, Source, mapped,
};
pub use upper_layer::{Octets, Piece, UpperLayer};

use crate::{
    icmp::v6,
    ip::{TCP, UDP},
};

/// Destination Unreachable to Parameter Problem.
const ERRORS: core::ops::RangeInclusive<u8> = v6::DESTINATION_UNREACHABLE..=v6::PARAMETER_PROBLEM;

/// What an ICMPv6 message from outside is to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// An error or an answer: passes always. Without errors, path MTU discovery dies silently.
    Passes,
    /// Asks something that may be asked of every host (RFC 4890 §4.3.1), though perhaps not by everybody.
    Echo,
    /// Passes if a rule says so.
    Other,
}

impl Icmp {
    /// What a message of this type is.
    #[inline(always)]
    #[must_use]
    pub fn of(kind: u8) -> Self {
        if kind == v6::ECHO_REPLY || ERRORS.contains(&kind) {
            Self::Passes
        } else if kind == v6::ECHO_REQUEST {
            Self::Echo
        } else {
            Self::Other
        }
    }
}

/// Whether a protocol's header begins with two ports.
#[inline(always)]
#[must_use]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4890 §4.3.1, and nothing that a router or a neighbour says.
    #[test]
    fn messages_that_must_not_be_dropped() {
        for kind in 0..=255 {
            let icmp = Icmp::of(kind);
            match kind {
                1 | 2 | 3 | 4 | 129 => assert_eq!(icmp, Icmp::Passes, "{kind}"),
                128 => assert_eq!(icmp, Icmp::Echo),
                _ => assert_eq!(icmp, Icmp::Other, "{kind}"),
            }
        }
    }
}
