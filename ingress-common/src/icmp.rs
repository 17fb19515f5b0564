//! Types and codes of the errors that are read, translated or made here.

/// ICMP (RFC 792; codes from 6 on: RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
pub mod v4 {
    /// Type: the packet could not be delivered; the code says why.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// Type: the TTL was used up (code 0), or pieces were missing for too long (code 1).
    pub const TIME_EXCEEDED: u8 = 11;
    /// Type: something in the header is wrong; the first octet of the second word points at it.
    pub const PARAMETER_PROBLEM: u8 = 12;

    /// Code of Destination Unreachable: no route to the network.
    pub const NET_UNREACHABLE: u8 = 0;
    /// Code of Destination Unreachable: no route to the host, or it does not answer.
    pub const HOST_UNREACHABLE: u8 = 1;
    /// Code of Destination Unreachable: the host does not speak the protocol.
    pub const PROTOCOL_UNREACHABLE: u8 = 2;
    /// Code of Destination Unreachable: nobody listens on the port.
    pub const PORT_UNREACHABLE: u8 = 3;
    /// Code of Destination Unreachable: the low half of the second word is the MTU, in octets (RFC 1191 §4).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Code of Destination Unreachable: a source route led nowhere.
    pub const SOURCE_ROUTE_FAILED: u8 = 5;
    /// Code of Destination Unreachable: there is no such network.
    pub const NET_UNKNOWN: u8 = 6;
    /// Code of Destination Unreachable: there is no such host.
    pub const HOST_UNKNOWN: u8 = 7;
    /// Code of Destination Unreachable: the sender has no connection.
    pub const SOURCE_ISOLATED: u8 = 8;
    /// Code of Destination Unreachable: the network is administratively prohibited.
    pub const NET_PROHIBITED: u8 = 9;
    /// Code of Destination Unreachable: the host is administratively prohibited.
    pub const HOST_PROHIBITED: u8 = 10;
    /// Code of Destination Unreachable: no route to the network for this type of service.
    pub const NET_UNREACHABLE_FOR_TOS: u8 = 11;
    /// Code of Destination Unreachable: no route to the host for this type of service.
    pub const HOST_UNREACHABLE_FOR_TOS: u8 = 12;
    /// Code of Destination Unreachable: a filter on the way.
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 13;
    /// Code of Destination Unreachable: the precedence is too low.
    pub const PRECEDENCE_CUTOFF: u8 = 15;

    /// Code of Time Exceeded: in transit.
    pub const TTL_EXCEEDED: u8 = 0;
    /// Code of Time Exceeded: while pieces were put together.
    pub const REASSEMBLY_TIME_EXCEEDED: u8 = 1;

    /// Code of Parameter Problem: the pointer says where.
    pub const POINTER: u8 = 0;
    /// Code of Parameter Problem: the pointer says where, too (RFC 792 knows none but 0).
    pub const BAD_LENGTH: u8 = 2;
}

/// ICMPv6 (RFC 4443).
pub mod v6 {
    /// Type: the packet could not be delivered; the code says why.
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// Type: the second word is the MTU, in octets.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Type: the hop limit was used up (code 0), or pieces were missing for too long (code 1).
    pub const TIME_EXCEEDED: u8 = 3;
    /// Type: something in the headers is wrong; the second word points at it.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// The first type that is no error (§2.1).
    pub const FIRST_INFORMATIONAL: u8 = 128;
    /// Type: asks for an Echo Reply.
    pub const ECHO_REQUEST: u8 = 128;
    /// Type: answers an Echo Request.
    pub const ECHO_REPLY: u8 = 129;

    /// Code of Destination Unreachable: no route to the destination.
    pub const NO_ROUTE: u8 = 0;
    /// Code of Destination Unreachable: a filter on the way.
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 1;
    /// Code of Destination Unreachable: beyond the scope of the source address.
    pub const BEYOND_SCOPE: u8 = 2;
    /// Code of Destination Unreachable: the address does not answer.
    pub const ADDRESS_UNREACHABLE: u8 = 3;
    /// Code of Destination Unreachable: nobody listens on the port.
    pub const PORT_UNREACHABLE: u8 = 4;

    /// Code of Time Exceeded: in transit.
    pub const HOP_LIMIT_EXCEEDED: u8 = 0;
    /// Code of Time Exceeded: while pieces were put together.
    pub const REASSEMBLY_TIME_EXCEEDED: u8 = 1;

    /// Code of Parameter Problem: an erroneous header field.
    pub const ERRONEOUS_FIELD: u8 = 0;
    /// Code of Parameter Problem: a next header that the receiver does not know.
    pub const UNRECOGNIZED_NEXT_HEADER: u8 = 1;
}
