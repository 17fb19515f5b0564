//! What is owed to a backend.

/// The most octets of a client that are acknowledged before its backend has them.
pub const MAX_DEBT: usize = 17 * 1024;

/// What a client will not send again, though its backend does not have it: the next daemon's to deliver, should
/// this one go.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debt {
    /// The cookie that the client was answered with.
    pub cookie: [u8; 4],
    /// The client's ISN.
    pub client_isn: [u8; 4],
    /// The client's window field, as it last came.
    pub window: u16,
    /// Octets used of `octets`.
    pub len: u16,
    /// If `stamped`: the latest TSval of the client.
    pub clock: [u8; 4],
    /// If `stamped`: the TSval in our SYN-ACK.
    pub shown: [u8; 4],
    /// One where the client was promised timestamps.
    pub stamped: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The client's stream from its beginning.
    pub octets: [u8; MAX_DEBT],
}
