//! Who is who in these tests, and the tables that say so.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use ingress::handshake::{Backend, ClientTuple, Splice};
use ingress_common::maps::{
    BackendKey, ClientKey, CookieKeys, Destination, Device, Listener, ListenerKey, Offer, Route,
};
use ingress_common::tcp::Seq;

use crate::golden::frame::{Ip4, Ip6, Tcp, flag};

/// A client that speaks IPv4.
pub const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 9), 40_000);
/// The listed port.
pub const LISTEN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 443);
/// A server of site 0.
pub const BACKEND: SocketAddrV6 =
    SocketAddrV6::new(address([0x2001, 0xdb8, 1, 0, 1, 0, 0, 0x80]), 443, 0, 0);
/// The client as the server sees it.
pub const SOURCE: Ipv6Addr = address([0x64, 0xff9b, 1, 0, 0, 0, 0xcb00, 0x7109]);
/// Somebody in the world who speaks IPv6.
pub const WORLD: Ipv6Addr = address([0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2]);
/// A server of site 1.
pub const OTHER_SITE: Ipv6Addr = address([0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x80]);
/// This machine.
pub const HERE: Ipv6Addr = address([0x2001, 0xdb8, 1, 0, 0, 0, 0, 1]);

/// MTU of site 0's tunnel; site 1 has less.
pub const MTU: u32 = 1420;
/// MTU of site 1's tunnel.
pub const OTHER_MTU: u32 = 1280;
/// MTU of the uplink.
pub const UPLINK_MTU: u32 = 1500;

/// MSS, window and scale that the listener promises.
pub const PROMISE: Listener = Listener {
    mss: 1360u16.to_be_bytes(),
    window: 16640u16.to_be_bytes(),
    scale: 7,
    sack: Offer::On as u8,
    timestamps: Offer::On as u8,
    lowered: 0,
};

/// The cookie's secret.
pub const KEYS: CookieKeys =
    CookieKeys { keys: [*b"even generations", *b"odd generations!"], generations: [0; 2] };

/// The client's first sequence number.
pub const CLIENT_ISN: u32 = 0x1111_0000;
/// Ours towards the client.
pub const COOKIE: u32 = 0x9000_0000;
/// The backend's.
pub const BACKEND_ISN: u32 = 0x2000_0000;

const fn address([a, b, c, d, e, f, g, h]: [u16; 8]) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

/// What IPv6 addresses are.
pub fn routes() -> HashMap<ipnet::Ipv6Net, Route> {
    let site = Route::to_site;
    [
        ("::/0", Route::to(Destination::World)),
        ("2001:db8:1::/64", Route::to(Destination::Here)),
        ("2001:db8:1:0:1::/80", site(0)),
        ("2001:db8:2::/48", site(1)),
        ("64:ff9b:1::/96", Route::to(Destination::Nat46)),
        ("::/80", Route::to(Destination::Kernel)),
        ("fe80::/10", Route::to(Destination::Kernel)),
        ("ff00::/8", Route::to(Destination::Kernel)),
        ("fd00:6::/64", Route::to(Destination::Kernel)),
    ]
    .into_iter()
    .map(|(net, route)| (net.parse().unwrap(), route))
    .collect()
}

/// The one listed port.
pub fn listeners() -> HashMap<ListenerKey, Listener> {
    HashMap::from([(listener_key(LISTEN), PROMISE)])
}

/// A listed address and port as the map has it.
pub fn listener_key(listen: SocketAddrV4) -> ListenerKey {
    ListenerKey {
        address: listen.ip().octets(),
        port: listen.port().to_be_bytes(),
        reserved: [0; 2],
    }
}

/// A device that packets leave through.
pub fn device(ifindex: u32, mtu: u32, ethernet: bool) -> Device {
    Device { ifindex, mtu, ethernet: ethernet.into(), reserved: [0; 3] }
}

/// The connection of [`CLIENT`].
pub fn tuple() -> ClientTuple {
    ClientTuple { client: CLIENT, listen: LISTEN }
}

/// Its key on the client's side.
pub fn client_key() -> ClientKey {
    ingress::flows::client_key(tuple())
}

/// The key of a connection of the same client from another port.
pub fn client_key_from(port: u16) -> ClientKey {
    let client = SocketAddrV4::new(*CLIENT.ip(), port);
    ingress::flows::client_key(ClientTuple { client, listen: LISTEN })
}

/// Its key on the backend's side.
pub fn backend_key() -> BackendKey {
    ingress::flows::keys(tuple(), BACKEND, SOURCE).1
}

/// Its two halves, with the same window scale everywhere.
pub fn splice() -> Splice {
    Splice {
        backend: Backend { address: BACKEND, source: SOURCE, site: 0, mss_limit: 1360 },
        host: "www.example.test".parse().unwrap(),
        client_isn: Seq(CLIENT_ISN),
        cookie: Seq(COOKIE),
        backend_isn: Seq(BACKEND_ISN),
        promised_scale: Some(7),
        client_scale: Some(7),
        backend_scale: Some(7),
        announced: 1440,
        mss: 1360,
        ts_delta: None,
        watch: None,
    }
}

/// The IPv4 header of what the client sends.
pub fn from_client() -> Ip4 {
    Ip4 { source: *CLIENT.ip(), destination: *LISTEN.ip(), ..Ip4::default() }
}

/// The IPv4 header of what the client gets.
pub fn to_client() -> Ip4 {
    Ip4 { source: *LISTEN.ip(), destination: *CLIENT.ip(), ..Ip4::default() }
}

/// The IPv6 header of what the backend gets.
pub fn to_backend() -> Ip6 {
    Ip6 { source: SOURCE, destination: *BACKEND.ip(), ..Ip6::default() }
}

/// The IPv6 header of what the backend sends.
pub fn from_backend() -> Ip6 {
    Ip6 { source: *BACKEND.ip(), destination: SOURCE, ..Ip6::default() }
}

/// A SYN of the client.
pub fn syn(options: &[u8]) -> Tcp {
    Tcp {
        seq: CLIENT_ISN,
        ack: 0,
        flags: flag::SYN,
        window: 64_240,
        options: options.to_vec(),
        payload: Vec::new(),
        ..client_segment()
    }
}

/// A segment of the client with some data.
pub fn client_segment() -> Tcp {
    Tcp {
        source: CLIENT.port(),
        destination: LISTEN.port(),
        seq: CLIENT_ISN.wrapping_add(1),
        ack: COOKIE.wrapping_add(1),
        flags: flag::ACK | flag::PSH,
        payload: b"from the client".to_vec(),
        ..Tcp::default()
    }
}

/// A segment of the backend with some data.
pub fn backend_segment() -> Tcp {
    Tcp {
        source: BACKEND.port(),
        destination: CLIENT.port(),
        seq: BACKEND_ISN.wrapping_add(1),
        ack: CLIENT_ISN.wrapping_add(1),
        flags: flag::ACK | flag::PSH,
        payload: b"from the backend".to_vec(),
        ..Tcp::default()
    }
}
