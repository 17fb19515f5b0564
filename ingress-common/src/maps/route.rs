//! Where IPv6 addresses lead, by which router and through which device.

/// What an address in `ROUTES` is, for longest-prefix match.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Everything the kernel must judge itself: link-local, multicast, other routes.
    Kernel = 0,
    /// Routed through the uplink.
    World = 1,
    /// A site's prefix.
    Site = 2,
    /// The NAT46 prefix.
    Nat46 = 3,
    /// What ends at this host: its own addresses, and prefixes that it declares unreachable. The kernel judges that,
    /// too, but nothing that is forwarded can come from there.
    Here = 4,
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
            4 => Destination::Here,
            _ => Destination::Kernel,
        }
    }
}

/// Instead of an index in `NEXT_HOPS`: the kernel is asked for the next hop of each packet.
pub const ASK_KERNEL: u8 = 0;

/// Entries of `NEXT_HOPS`; the first one, [`ASK_KERNEL`], stays empty.
pub const NEXT_HOPS: u32 = 256;

/// Entries of `ROUTES4`. With more IPv4 routes the kernel is asked each time.
pub const MAX_ROUTES4: u32 = 4096;

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
    /// `AF_INET6` (`linux/socket.h`).
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
