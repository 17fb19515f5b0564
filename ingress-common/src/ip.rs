//! Numbers of the Internet Protocol that more than one module needs.

/// Protocol number of ICMP (IANA, Assigned Internet Protocol Numbers).
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Length of an IPv4 header without options, in octets.
pub const IPV4_LEN: usize = 20;
/// Length of an IPv6 header without extension headers, in octets.
pub const IPV6_LEN: usize = 40;

/// By how many octets a packet grows where an IPv6 header takes the place of its IPv4 header, and shrinks the other
/// way.
pub const TRANSLATION_GROWTH: u32 = (IPV6_LEN - IPV4_LEN) as u32;

/// The least MTU of a link that carries IPv6, in octets (RFC 8200 §5).
pub const IPV6_LEAST_MTU: u32 = 1280;
