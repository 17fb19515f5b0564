//! Whom packets are handed to: the router in the map while there is a daemon that answers for it, and whom the kernel
//! says otherwise.

use std::net::{IpAddr, Ipv6Addr};

use ingress_common::maps::{ASK_KERNEL, Destination, Route};

use crate::bench::now;
use crate::device::{Device, NEIGHBOUR, Offload};
use crate::frame::{Ip6, UDP};
use crate::place::{
    self, BACKEND, WORLD, backend_segment, client_segment, from_backend, from_client, splice, tuple,
};
use crate::wire::{Wire, on_every_wire};

/// Not where the kernel's own routes lead to, which is to [`NEIGHBOUR`].
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 7];
const ROUTER: &str = "2001:db8:f::7";
const ROUTER4: &str = "198.51.100.7";
const TUNNEL_ROUTER: &str = "2001:db8:1:0:1::7";
/// On the uplink's link, no router.
const ON_LINK: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 8);
const ON_LINK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 8];
/// Longer than a daemon may be silent.
const LONG: u64 = 4_000_000_000;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Everything goes by other routers than the kernel's own.
fn by_others(wire: &mut Wire) {
    let routers = [ROUTER, ROUTER4, TUNNEL_ROUTER].map(address);
    let numbers = wire.next_hops.number(routers.into_iter()).unwrap();
    let mut routes = place::routes();
    let mut set = |net: &str, route: Route, next_hop| {
        routes.insert(net.parse().unwrap(), Route { next_hop, ..route });
    };
    set("::/0", Route::to(Destination::World), numbers[&address(ROUTER)]);
    set("2001:db8:f::/64", Route::to(Destination::World), ASK_KERNEL);
    set("2001:db8:1:0:1::/80", Route::to_site(0), numbers[&address(TUNNEL_ROUTER)]);
    wire.routes.replace(&routes).unwrap();
    let routes4 = [("0.0.0.0/0", numbers[&address(ROUTER4)]), ("198.51.100.0/24", ASK_KERNEL)];
    let routes4 = routes4.map(|(net, number)| (net.parse().unwrap(), number));
    wire.routes4.replace(&routes4.map(|(net, number)| (net, u32::from(number))).into()).unwrap();
}

/// IPv6 and a flow, out and in: who gets it on the uplink, and who on the tunnel.
#[track_caller]
fn all_go_to(wire: &mut Wire, neighbour: [u8; 6]) {
    let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
    let outward = Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() };
    let there = client_segment().over4(&from_client());
    let back = backend_segment().over6(&from_backend());
    let send = |from: &Device, to: &Device, packet: &[u8]| {
        from.send(packet, Offload::None);
        to.receive_for(neighbour);
    };
    send(&wire.uplink, &wire.tunnel, &inward.around(UDP, &[0; 8]));
    send(&wire.uplink, &wire.tunnel, &there);
    send(&wire.tunnel, &wire.uplink, &outward.around(UDP, &[0; 8]));
    send(&wire.tunnel, &wire.uplink, &back);
    assert_eq!(wire.all_drops(), 0);
}

#[test]
fn the_router_in_the_map_while_there_is_a_daemon() {
    on_every_wire(|wire| {
        wire.flows.install(tuple(), &splice(), now()).unwrap();
        all_go_to(wire, NEIGHBOUR);
        by_others(wire);
        all_go_to(wire, OTHER);
        wire.secrets.beat(now() - LONG).unwrap();
        // What was found in this tick of the clock counts until the next.
        std::thread::sleep(std::time::Duration::from_millis(30));
        all_go_to(wire, NEIGHBOUR);
        wire.secrets.beat(now() + LONG).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        all_go_to(wire, OTHER);
    });
}

#[test]
fn neighbours_on_the_link_are_asked_for_themselves() {
    on_every_wire(|wire| {
        by_others(wire);
        let outward = Ip6 { source: *BACKEND.ip(), destination: ON_LINK, ..Ip6::default() };
        wire.tunnel.send(&outward.around(UDP, &[0; 8]), Offload::None);
        wire.uplink.receive_for(ON_LINK_MAC);
        assert_eq!(wire.all_drops(), 0);
    });
}

#[test]
fn a_router_that_is_not_trusted_or_not_there_gets_nothing() {
    on_every_wire(|wire| {
        wire.flows.install(tuple(), &splice(), now()).unwrap();
        by_others(wire);
        wire.next_hops.distrust().unwrap();
        all_go_to(wire, NEIGHBOUR);
        by_others(wire);
        all_go_to(wire, OTHER);
        // Routes that still have the number of a router that is forgotten.
        wire.next_hops.forget_others(&Default::default()).unwrap();
        all_go_to(wire, NEIGHBOUR);
    });
}

#[test]
fn a_number_is_nobody_elses_at_once() {
    on_every_wire(|wire| {
        let number = |wire: &mut Wire, routers: &[&str]| {
            wire.next_hops.number(routers.iter().map(|text| address(text))).unwrap()
        };
        let first = number(wire, &[ROUTER]);
        let both = number(wire, &[ROUTER4, TUNNEL_ROUTER]);
        assert!(both.values().all(|number| !first.values().any(|taken| taken == number)));
        assert!(both.values().all(|number| *number != ASK_KERNEL));
        wire.next_hops.forget_others(&both).unwrap();
        assert_eq!(number(wire, &[TUNNEL_ROUTER, ROUTER4]), both, "who stays keeps it");
        assert_eq!(
            number(wire, &[ON_LINK.to_string().as_str()]).values().next(),
            first.values().next()
        );
        // More than there are numbers: some are left to the kernel, and it is no error.
        let many: Vec<String> = (0..300u32).map(|nth| format!("2001:db8:f::{nth:x}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(number(wire, &many).len(), 253);
    });
}
