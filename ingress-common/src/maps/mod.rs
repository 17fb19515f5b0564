//! Types in the BPF maps: flows, listeners, routes and devices, counters.
//!
//! The other map and record types stand with the rules that use them: [`policy`](crate::policy) (settings, keys of the
//! tries, connections and fragments), [`storm::Turns`](crate::storm::Turns), [`upcall::Header`](crate::upcall::Header).
//! The layout of all of them is the contract between a daemon and the pinned programs of an earlier one: whoever
//! changes one, here or there, raises [`ABI`].
//!
//! Addresses, ports and sequence numbers are octets in network order. Counters, times and indices never
//! leave the machine and are native integers. No type has padding; the sizes are asserted below.

mod debt;
mod flow;
mod listener;
mod route;

pub use debt::{Debt, MAX_DEBT};
pub use flow::{
    BackendKey, CLOSING_FIN, CLOSING_RST, ClientKey, LEAST_MSS, ToBackend, ToClient, WATCH_RANGE,
    closing_after,
};
pub use listener::{Listener, ListenerKey, MAX_LISTENERS, Offer};
pub use route::{
    ASK_KERNEL, Destination, Device, MAX_ROUTES4, MAX_SITES, NEXT_HOPS, NextHop, Route,
};

/// Number of this layout: the maps are pinned below `<bpffs>/v<ABI>/`, where a daemon of another layout does not
/// even look.
pub const ABI: u32 = 2;

/// Entries of each array of counters: with room, so that one more counter is not another layout.
pub const COUNTERS: u32 = 64;

/// The one value in `SECRETS`: the two generations of cookie key, by parity.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CookieKeys {
    /// SipHash keys.
    pub keys: [[u8; 16]; 2],
    /// Which generation each key was made for, plus one; zero for none.
    pub generations: [u64; 2],
}

/// A pair of counters, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Packets; a GRO batch counts its segments.
    pub packets: u64,
    /// Octets of the network layer.
    pub bytes: u64,
}

/// A token bucket for packets that ask the daemon for an answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it was last filled, in nanoseconds since boot.
    pub filled: u64,
    /// Tokens left.
    pub tokens: u64,
}

/// Longest host name, in octets (RFC 1035 §2.3.4, without the dots' overhead).
pub const MAX_HOST_LEN: usize = 253;

/// Value in `HOSTS`: a name, so that a restarted daemon still knows what a flow was opened for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Octets used of `name`.
    pub len: u8,
    /// ASCII, lower case.
    pub name: [u8; MAX_HOST_LEN + 2],
}

const _: () = {
    assert!(size_of::<Debt>() == 24 + MAX_DEBT);
    assert!(size_of::<ClientKey>() == 16);
    assert!(size_of::<BackendKey>() == 40);
    assert!(size_of::<ToBackend>() == 32 + 32 + 8 + 16);
    assert!(size_of::<ToClient>() == 24 + 16 + 16);
    assert!(size_of::<Route>() == 4);
    assert!(size_of::<NextHop>() == 20);
    assert!(size_of::<Device>() == 12);
    assert!(size_of::<ListenerKey>() == 8);
    assert!(size_of::<Listener>() == 8);
    assert!(size_of::<CookieKeys>() == 48);
    assert!(size_of::<Volume>() == 16);
    assert!(size_of::<Bucket>() == 16);
    assert!(size_of::<Host>() == 256);
};

#[cfg(feature = "user")]
mod pod {
    use super::{
        BackendKey, Bucket, ClientKey, CookieKeys, Debt, Device, Host, Listener, ListenerKey,
        NextHop, Route, ToBackend, ToClient, Volume,
    };

    macro_rules! pod {
        ($($type:ty),+) => { $(
            // SAFETY: `repr(C)`, made of integers and octet arrays, without padding (the sizes are
            // asserted above), and valid for any bit pattern.
            unsafe impl aya::Pod for $type {}
        )+ };
    }
    pod!(ClientKey, BackendKey, ToBackend, ToClient, Route, Device, ListenerKey, Listener);
    pod!(CookieKeys, Volume, Bucket, Host, Debt, NextHop);
}
