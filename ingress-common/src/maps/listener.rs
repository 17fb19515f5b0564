//! The listed ports, and what clients are promised there.

use core::net::SocketAddrV4;

/// Most pairs of address and port that can be listed: entries of `LISTENERS`.
pub const MAX_LISTENERS: u32 = 4096;

/// Key in `LISTENERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// An IPv4 address of ours.
    pub address: [u8; 4],
    /// A listed port.
    pub port: [u8; 2],
    /// Zero.
    pub reserved: [u8; 2],
}

/// Value in `LISTENERS`: what is promised to a client in the SYN-ACK.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// MSS offered, in octets.
    pub mss: [u8; 2],
    /// Window offered, in octets, unscaled.
    pub window: [u8; 2],
    /// Window scale promised to clients that offer one.
    pub scale: u8,
    /// An [`Offer`] as its number: SACK, to clients that offer it.
    pub sack: u8,
    /// An [`Offer`] as its number: timestamps, to clients that offer them.
    pub timestamps: u8,
    /// One where `mss` is what a backend announced, and less than the devices carry.
    pub lowered: u8,
}

/// Whether a listener promises an option.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Offer {
    /// The operator does not want the option.
    #[default]
    Off = 0,
    /// The option is promised.
    On = 1,
    /// The option is promised no longer: a backend turned out to lack it.
    Withdrawn = 2,
}

impl ListenerKey {
    /// The key of an address and port.
    #[must_use]
    pub const fn new(listen: SocketAddrV4) -> Self {
        let (address, port) = (listen.ip().octets(), listen.port().to_be_bytes());
        Self { address, port, reserved: [0; 2] }
    }
}

impl Offer {
    /// What a number in a map says; an unknown one promises nothing.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::On,
            2 => Self::Withdrawn,
            _ => Self::Off,
        }
    }
}

impl Listener {
    /// Whether SACK is promised.
    #[inline(always)]
    #[must_use]
    pub const fn offers_sack(&self) -> bool {
        self.sack == Offer::On as u8
    }

    /// Whether timestamps are promised.
    #[inline(always)]
    #[must_use]
    pub const fn offers_timestamps(&self) -> bool {
        self.timestamps == Offer::On as u8
    }
}
