//! Where there is a next hop, and where there is doubt.

use super::*;

const UPLINK: u32 = 2;
const TUNNEL: u32 = 3;
const SITE: u16 = 5;
const GATEWAY: &str = "fe80::1";
const HOME: &str = "fd00:5::2";

fn link(index: u32) -> Link {
    Link { index, mtu: 1500, up: true, ethernet: true }
}

fn route(destination: &str, through: &[u32], router: Option<&str>) -> netlink::Route {
    let router = router.map(|router| router.parse().unwrap());
    let (destination, through) = (destination.parse().unwrap(), through.to_vec());
    netlink::Route { destination, through, metric: 1024, forwards: true, local: false, router }
}

fn route4(destination: &str, through: &[u32], router: Option<&str>) -> netlink::Route4 {
    let router = router.map(|router| router.parse().unwrap());
    let (destination, through) = (destination.parse().unwrap(), through.to_vec());
    netlink::Route { destination, through, metric: 0, forwards: true, local: false, router }
}

fn network() -> Snapshot {
    Snapshot {
        routes: vec![
            route("::/0", &[UPLINK], Some(GATEWAY)),
            route("2001:db8:f::/64", &[UPLINK], None),
            route("2001:db8:e::/48", &[UPLINK], Some("2001:db8:f::7")),
            route("2001:db8:1::/48", &[TUNNEL], Some(HOME)),
        ],
        routes4: vec![
            route4("0.0.0.0/0", &[UPLINK], Some("198.51.100.1")),
            route4("198.51.100.0/24", &[UPLINK], None),
            route4("10.0.0.0/8", &[4], Some("10.0.0.1")),
            route4("203.0.113.0/24", &[UPLINK], Some("198.51.100.7")),
        ],
        rules: netlink::Rules { usual4: true, usual6: true },
        ..Snapshot::default()
    }
}

fn known(network: &Snapshot) -> NextHops {
    let world = ["::/0", "2001:db8:f::/64", "2001:db8:e::/48"];
    let routes = world.map(|net| (net.parse().unwrap(), Route::to(Destination::World)));
    let mut routes = HashMap::from(routes);
    routes.insert("2001:db8:1:2::/64".parse().unwrap(), Route::to_site(SITE));
    let (uplink, tunnel) = (link(UPLINK), link(TUNNEL));
    NextHops::of(network, &routes, Some(&uplink), &HashMap::from([(SITE, &tunnel)]))
}

fn of6(network: &Snapshot, net: &str) -> Option<String> {
    known(network).v6.get(&net.parse().unwrap()).map(ToString::to_string)
}

fn of4(network: &Snapshot, net: &str) -> Option<String> {
    known(network).v4[&net.parse().unwrap()].map(|router| router.to_string())
}

#[test]
fn each_route_has_its_own_router() {
    let network = network();
    assert_eq!(of6(&network, "::/0").as_deref(), Some(GATEWAY));
    assert_eq!(of6(&network, "2001:db8:e::/48").as_deref(), Some("2001:db8:f::7"));
    assert_eq!(of6(&network, "2001:db8:f::/64"), None, "on the link");
    assert_eq!(of4(&network, "0.0.0.0/0").as_deref(), Some("198.51.100.1"));
    assert_eq!(of4(&network, "203.0.113.0/24").as_deref(), Some("198.51.100.7"));
    assert_eq!(of4(&network, "198.51.100.0/24"), None, "on the link");
    assert_eq!(of4(&network, "10.0.0.0/8"), None, "by another device");
}

#[test]
fn a_sites_prefix_has_the_router_of_the_route_around_it() {
    assert_eq!(of6(&network(), "2001:db8:1:2::/64").as_deref(), Some(HOME));
    let mut narrower = network();
    narrower.routes.push(route("2001:db8:1:2::/63", &[UPLINK], Some(GATEWAY)));
    assert_eq!(of6(&narrower, "2001:db8:1:2::/64"), None, "not by the tunnel");
    narrower.routes.push(route("2001:db8:1:2::/64", &[TUNNEL], None));
    assert_eq!(of6(&narrower, "2001:db8:1:2::/64"), None, "on the tunnel's own link");
}

#[test]
fn the_kernel_chooses_among_several() {
    let mut network = network();
    network.routes.push(route("::/0", &[UPLINK], Some("fe80::2")));
    network.routes4.push(route4("0.0.0.0/0", &[4], Some("10.0.0.1")));
    assert_eq!((of6(&network, "::/0"), of4(&network, "0.0.0.0/0")), (None, None));
    assert!(of6(&network, "2001:db8:e::/48").is_some(), "others are not touched");
}

#[test]
fn other_rules_leave_all_to_the_kernel() {
    let mut network = network();
    network.rules.usual6 = false;
    let of_both = known(&network);
    assert_eq!((of_both.v6.len(), of_both.v4.len()), (0, 4));
    network.rules = netlink::Rules { usual4: false, usual6: true };
    let of_both = known(&network);
    assert_eq!((of_both.v6.len(), of_both.v4.len()), (3, 0));
}

#[test]
fn devices_without_neighbours_need_none() {
    let uplink = Link { ethernet: false, ..link(UPLINK) };
    let routes = HashMap::from([("::/0".parse().unwrap(), Route::to(Destination::World))]);
    let known = NextHops::of(&network(), &routes, Some(&uplink), &HashMap::new());
    assert_eq!(known, NextHops::default());
}
