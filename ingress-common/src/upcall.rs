//! Records in the ring buffer `UPCALLS`: a header, then the packet from its network header on.

/// Header of a record, native order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// An [`Upcall`] as its number.
    pub kind: u32,
    /// Interface on which the packet came.
    pub ifindex: u32,
    /// Length of the packet from its network header on, in octets.
    pub len: u32,
    /// Octets of it that follow in this record.
    pub captured: u32,
}

/// Length of [`Header`].
pub const HEADER_LEN: usize = size_of::<Header>();
/// Room for the packet in a small record: any single frame of a usual MTU.
pub const SMALL: usize = 2048 - HEADER_LEN;
/// Room in a large record: a GRO batch with the largest hello.
pub const LARGE: usize = 20480 - HEADER_LEN;

const _: () = assert!(HEADER_LEN == 16);

/// Why a packet was handed up.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upcall {
    /// IPv4: data with a valid cookie, or anything of a tuple in `PENDING`.
    Client = 1,
    /// IPv6: anything of a tuple in `EXPECTED`.
    Backend = 2,
    /// IPv4: a packet that deserves a reset.
    ResetClient = 3,
    /// IPv6: a packet to the NAT46 prefix that deserves a reset.
    ResetBackend = 4,
    /// IPv6: an ICMPv6 error to the NAT46 prefix.
    Icmp6Error = 5,
    /// IPv6: an acknowledgment that covers what a flow was watched for.
    Acknowledged = 6,
    /// IPv4 or IPv6: a packet of a flow that is too big for the next device.
    TooBig = 7,
    /// IPv4 or IPv6: a packet of a flow whose hop limit is used up.
    HopLimit = 8,
    /// IPv4: an ICMP error that quotes a packet of a flow.
    Icmp4Error = 9,
}

impl Upcall {
    /// The kind that a number stands for.
    #[must_use]
    pub const fn from_number(kind: u32) -> Option<Self> {
        Some(match kind {
            1 => Self::Client,
            2 => Self::Backend,
            3 => Self::ResetClient,
            4 => Self::ResetBackend,
            5 => Self::Icmp6Error,
            6 => Self::Acknowledged,
            7 => Self::TooBig,
            8 => Self::HopLimit,
            9 => Self::Icmp4Error,
            _ => return None,
        })
    }
}
