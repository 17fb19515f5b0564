//! IPv6 extension headers (RFC 8200 §4), as far as one has to step over them to the ports.

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// How many extension headers are stepped over. Nobody sends more, and a packet with more cannot be judged.
pub const MAX_EXTENSION_HEADERS: usize = 6;

/// What the first eight octets of an extension header say; no header is shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionHeader {
    /// The kind of the next header.
    pub next: u8,
    /// Length of this header, in octets: how far away the next one is.
    pub len: u16,
    /// Which fragment of a packet this is, if the header is a fragment header.
    pub fragment: Option<Fragment>,
}

/// A fragment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What tells this packet's fragments from others'.
    pub id: [u8; 4],
    /// Whether it holds the packet's beginning.
    pub first: bool,
    /// Whether it is the whole packet: an atomic fragment (RFC 6946).
    pub whole: bool,
}

/// Whether a header of this kind is an extension header, and not what the packet carries.
#[inline(always)]
#[must_use]
pub const fn is_extension_header(kind: u8) -> bool {
    matches!(
        kind,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6
    )
}

/// Reads an extension header of this kind from its first eight octets.
#[inline(always)]
#[must_use]
pub fn parse_extension_header(kind: u8, head: [u8; 8]) -> ExtensionHeader {
    let [next, len, high, low, a, b, c, d] = head;
    if kind == FRAGMENT {
        let first = high == 0 && low & 0xf8 == 0;
        let fragment = Fragment { id: [a, b, c, d], first, whole: first && low & 1 == 0 };
        return ExtensionHeader { next, len: 8, fragment: Some(fragment) };
    }
    // RFC 4302 counts in words of four octets, all others in eights.
    let len = if kind == AUTHENTICATION { (len as u16 + 2) * 4 } else { (len as u16 + 1) * 8 };
    ExtensionHeader { next, len, fragment: None }
}

/// Whether a translator to IPv4 leaves out such a header (RFC 7915 §5.1): options, a routing header whose segments have
/// all been visited, and the fragment header of a whole packet. An authentication header would not hold afterwards.
#[inline(always)]
#[must_use]
pub fn is_left_out(kind: u8, head: [u8; 8]) -> bool {
    match kind {
        HOP_BY_HOP | DESTINATION => true,
        ROUTING => head[3] == 0,
        FRAGMENT => {
            matches!(
                parse_extension_header(kind, head).fragment,
                Some(Fragment { whole: true, .. })
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_and_pieces() {
        let options = parse_extension_header(DESTINATION, [6, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(options, ExtensionHeader { next: 6, len: 16, fragment: None });
        assert_eq!(parse_extension_header(AUTHENTICATION, [17, 4, 0, 0, 0, 0, 0, 0]).len, 24);
        for (offset, first, whole) in [
            ([0, 0], true, true),
            ([0, 1], true, false),
            ([0, 8], false, false),
            ([0, 9], false, false),
            ([1, 0], false, false),
        ] {
            let read = parse_extension_header(FRAGMENT, [6, 99, offset[0], offset[1], 1, 2, 3, 4]);
            let fragment = Fragment { id: [1, 2, 3, 4], first, whole };
            assert_eq!(read, ExtensionHeader { next: 6, len: 8, fragment: Some(fragment) });
        }
    }

    #[test]
    fn what_ipv4_has_no_place_for_is_left_out() {
        for (kind, head, left_out) in [
            (HOP_BY_HOP, [6, 0, 1, 4, 0, 0, 0, 0], true),
            (DESTINATION, [6, 2, 1, 4, 0, 0, 0, 0], true),
            (ROUTING, [6, 2, 4, 0, 0, 0, 0, 0], true),
            (ROUTING, [6, 2, 4, 1, 0, 0, 0, 0], false),
            (FRAGMENT, [6, 0, 0, 0, 1, 2, 3, 4], true),
            (FRAGMENT, [6, 0, 0, 1, 1, 2, 3, 4], false),
            (FRAGMENT, [6, 0, 0, 8, 1, 2, 3, 4], false),
            (AUTHENTICATION, [6, 4, 0, 0, 0, 0, 0, 0], false),
            (17, [0; 8], false),
        ] {
            assert_eq!(is_left_out(kind, head), left_out, "{kind} {head:?}");
        }
    }

    #[test]
    fn what_carries_ports_is_no_header() {
        for kind in [6, 17, 58, 50, 59, 132, 4, 41] {
            assert!(!is_extension_header(kind), "{kind}");
        }
    }

    proptest! {
        /// Whatever a header claims, the walk goes on and comes to an end.
        #[test]
        fn every_header_leads_on(kind: u8, head: [u8; 8]) {
            let header = parse_extension_header(kind, head);
            prop_assert!(header.len >= 8 && header.len <= 2048);
            prop_assert_eq!(header.next, head[0]);
            prop_assert_eq!(header.fragment.is_some(), kind == FRAGMENT);
        }
    }
}
