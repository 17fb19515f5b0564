//! The types in the BPF maps. Their layout is the contract between a daemon and the pinned programs of an
//! earlier one: whoever changes a layout here raises [`ABI`].
//!
//! Addresses, ports and sequence numbers are octets in network order. Counters, times and indices never
//! leave the machine and are native integers. No type has padding; the sizes are asserted below.

/// Number of this layout: the maps are pinned below `<bpffs>/v<ABI>/`, where a daemon of another layout does not
/// even look.
pub const ABI: u32 = 2;

/// Entries of each array of counters: with room, so that one more counter is not another layout.
pub const COUNTERS: u32 = 64;

/// `protocol` of a TCP flow.
pub const TCP: u8 = 6;

/// A client's side of a flow: how the uplink finds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// The client's IPv4 address.
    pub client: [u8; 4],
    /// The address of ours that it connected to.
    pub listen: [u8; 4],
    /// The client's port.
    pub client_port: [u8; 2],
    /// The listed port.
    pub listen_port: [u8; 2],
    /// [`TCP`].
    pub protocol: u8,
    reserved: [u8; 3],
}

impl ClientKey {
    /// The key of a TCP flow.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        client: [u8; 4],
        client_port: [u8; 2],
        listen: [u8; 4],
        listen_port: [u8; 2],
    ) -> Self {
        Self { client, listen, client_port, listen_port, protocol: TCP, reserved: [0; 3] }
    }
}

/// A backend's side of a flow: how the tunnel finds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BackendKey {
    /// The backend's address.
    pub backend: [u8; 16],
    /// The client as the backend knows it (RFC 6052).
    pub source: [u8; 16],
    /// The backend's port, which is the listed one.
    pub backend_port: [u8; 2],
    /// The client's port.
    pub client_port: [u8; 2],
    /// [`TCP`].
    pub protocol: u8,
    reserved: [u8; 3],
}

impl BackendKey {
    /// The key of a TCP flow.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        backend: [u8; 16],
        backend_port: [u8; 2],
        source: [u8; 16],
        client_port: [u8; 2],
    ) -> Self {
        Self { backend, source, backend_port, client_port, protocol: TCP, reserved: [0; 3] }
    }
}

/// In `closing` of either half: this side has sent FIN.
pub const CLOSING_FIN: u8 = 1;
/// In `closing` of either half: this side has sent RST.
pub const CLOSING_RST: u8 = 2;

/// Client → backend. Written once by the daemon; the programs touch counters, times and marks only.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToBackend {
    /// Packets forwarded; a GRO batch counts its segments.
    pub packets: u64,
    /// Octets forwarded, IPv4 headers included.
    pub bytes: u64,
    /// When the last packet came, in nanoseconds since boot.
    pub last_seen: u64,
    /// When the flow was installed, in nanoseconds since boot.
    pub opened: u64,
    /// The backend's address.
    pub backend: [u8; 16],
    /// The client as the backend knows it.
    pub source: [u8; 16],
    /// Cookie less the backend's ISN: subtracted from acknowledgments and SACK edges.
    pub delta: [u8; 4],
    /// The cookie of a later SYN on this tuple; zero where there was none.
    pub reopened: [u8; 4],
    /// Index of the name in `HOSTS`.
    pub host: u32,
    /// Change of the TCP checksum by the addresses, folded, in memory order.
    pub address_change: u16,
    /// Index in `SITES`.
    pub site: u16,
    /// How far the client's window field is expanded: its scale, where the backend refused scaling.
    pub expand: u8,
    /// [`CLOSING_FIN`], [`CLOSING_RST`].
    pub closing: u8,
    /// One where both ends have timestamps.
    pub timestamps: u8,
    /// What the backend announced, see [`ToBackend::mss`]; zero where it takes more than Ethernet carries.
    pub small: u8,
    /// The TSval that we showed the client less the backend's: subtracted from TSecr.
    pub ts_delta: [u8; 4],
}

/// The MSS that every backend is taken to have: what a peer without the option means over IPv4.
pub const LEAST_MSS: u16 = crate::tcp::DEFAULT_MSS;
/// The octets of one step of [`ToBackend::small`].
const MSS_STEP: u16 = 4;

impl ToBackend {
    /// `small` for a backend that announced this MSS.
    #[must_use]
    pub const fn small(announced: u16) -> u8 {
        let steps = announced.saturating_sub(LEAST_MSS).div_ceil(MSS_STEP);
        if steps < u8::MAX as u16 { steps as u8 + 1 } else { 0 }
    }

    /// The MSS that the backend announced, at most three octets more.
    #[inline(always)]
    #[must_use]
    pub const fn mss(&self) -> Option<u16> {
        match self.small {
            0 => None,
            small => Some(LEAST_MSS + (small as u16 - 1) * MSS_STEP),
        }
    }
}

/// Backend → client. Written once by the daemon, as [`ToBackend`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToClient {
    /// Packets forwarded; a GRO batch counts its segments.
    pub packets: u64,
    /// Octets forwarded, counted as the client receives them: IPv4 headers included.
    pub bytes: u64,
    /// When the last packet came, in nanoseconds since boot.
    pub last_seen: u64,
    /// The client's address.
    pub client: [u8; 4],
    /// The address of ours that the client connected to.
    pub listen: [u8; 4],
    /// Cookie less the backend's ISN: added to sequence numbers.
    pub delta: [u8; 4],
    /// While `watching`: the daemon wants to know when an acknowledgment covers this number.
    pub watched: [u8; 4],
    /// Change of the TCP checksum by the addresses, folded, in memory order.
    pub address_change: u16,
    /// The backend's window scale.
    pub backend_scale: u8,
    /// The scale that the client was promised.
    pub promised_scale: u8,
    /// [`CLOSING_FIN`], [`CLOSING_RST`].
    pub closing: u8,
    /// One while `watched` is waited for.
    pub watching: u8,
    /// One where both ends have timestamps.
    pub timestamps: u8,
    /// Zero.
    pub reserved: u8,
    /// The TSval that we showed the client less the backend's: added to TSval.
    pub ts_delta: [u8; 4],
    /// Zero.
    pub reserved_too: [u8; 4],
}

/// What an address in `ROUTES` is, for longest-prefix match.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Everything the kernel must judge itself: our own addresses, link-local, multicast, other routes.
    Kernel = 0,
    /// Routed through the uplink.
    World = 1,
    /// A site's prefix.
    Site = 2,
    /// The NAT46 prefix.
    Nat46 = 3,
}

/// Value in `ROUTES`; the key is an IPv6 prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// A [`Destination`] as its number.
    pub destination: u8,
    /// Index in `NEXT_HOPS`, or [`ASK_KERNEL`].
    pub next_hop: u8,
    /// Index in `SITES`, for [`Destination::Site`].
    pub site: u16,
}

impl Route {
    /// A route to something that is not a site.
    #[must_use]
    pub const fn to(destination: Destination) -> Self {
        Self { destination: destination as u8, next_hop: ASK_KERNEL, site: 0 }
    }

    /// A route into a site.
    #[must_use]
    pub const fn to_site(site: u16) -> Self {
        Self { destination: Destination::Site as u8, next_hop: ASK_KERNEL, site }
    }

    /// What the route leads to; an unknown number is the kernel's business.
    #[inline(always)]
    #[must_use]
    pub const fn destination(&self) -> Destination {
        match self.destination {
            1 => Destination::World,
            2 => Destination::Site,
            3 => Destination::Nat46,
            _ => Destination::Kernel,
        }
    }
}

/// Instead of an index in `NEXT_HOPS`: the kernel is asked for the next hop of each packet.
pub const ASK_KERNEL: u8 = 0;

/// Entries of `NEXT_HOPS`; the first one, [`ASK_KERNEL`], stays empty.
pub const NEXT_HOPS: u32 = 256;

/// A router that packets are handed to, as `bpf_redirect_neigh` takes it (`struct bpf_redir_neigh`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    /// `AF_INET`, `AF_INET6`, or zero: the kernel is asked.
    pub family: u32,
    /// The router's address; of an IPv4 one, the first four octets.
    pub address: [u8; 16],
}

impl NextHop {
    /// `AF_INET` (`linux/socket.h`).
    pub const IPV4: u32 = 2;
    /// `AF_INET6`.
    pub const IPV6: u32 = 10;
}

/// A device that packets leave through: a site's tunnel in `SITES`, the uplink in `UPLINK`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Interface index; zero while the device is absent or down.
    pub ifindex: u32,
    /// MTU in octets.
    pub mtu: u32,
    /// One where frames carry an Ethernet header.
    pub ethernet: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// Most sites there can be: entries of `SITES`.
pub const MAX_SITES: u32 = 64;

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
    /// The operator does not want it.
    #[default]
    Off = 0,
    /// It does.
    On = 1,
    /// Not any more: a backend turned out to lack it.
    Withdrawn = 2,
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

    /// Whether timestamps are.
    #[inline(always)]
    #[must_use]
    pub const fn offers_timestamps(&self) -> bool {
        self.timestamps == Offer::On as u8
    }
}

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
    /// Where `stamped` is one: the latest of the client's clock, and the one time that it was shown.
    pub clock: [u8; 4],
    /// See `clock`.
    pub shown: [u8; 4],
    /// One where the client was promised timestamps.
    pub stamped: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The client's stream from its beginning.
    pub octets: [u8; MAX_DEBT],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_mss_fits_an_octet() {
        for announced in 0..=u16::MAX {
            let half = ToBackend { small: ToBackend::small(announced), ..ToBackend::default() };
            match half.mss() {
                Some(mss) => assert!(mss >= announced && mss - announced.max(LEAST_MSS) < 4),
                None => assert!(announced > 1500, "{announced}"),
            }
        }
    }
}

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
