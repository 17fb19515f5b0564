//! Plans for one home and its network.

use super::*;
use crate::netlink;

fn link(index: u32, mtu: u32, ethernet: bool) -> Link {
    Link { index, mtu, up: true, ethernet }
}

fn route(destination: &str, through: &[u32], metric: u32, forwards: bool) -> netlink::Route {
    let destination = destination.parse().unwrap();
    let (through, local) = (through.to_vec(), !forwards && metric == 0);
    netlink::Route { destination, through, metric, forwards, local, router: None }
}

fn network() -> Snapshot {
    Snapshot {
        links: HashMap::from([
            ("eth0".to_owned(), link(2, 1500, true)),
            ("wg0".to_owned(), link(3, 1420, false)),
            ("docker0".to_owned(), link(4, 1500, true)),
        ]),
        addresses: vec![(2, Ipv4Addr::new(198, 51, 100, 2)), (1, Ipv4Addr::LOCALHOST)],
        routes: vec![
            route("::/0", &[2], 1024, true),
            route("2001:db8:1::/64", &[4], 256, true),
            route("2001:db8:1:0:1::/80", &[3], 1024, true),
            route("2001:db8:1:0:1::5/128", &[1], 0, false),
            route("2001:db8:1:0:1:2::/96", &[4], 256, true),
            route("2001:db8:9::/48", &[], 1024, false),
            route("fe80::/64", &[2], 256, true),
            route("::1/128", &[1], 0, false),
        ],
        ..Snapshot::default()
    }
}

fn what(plan: &Plan, prefix: &str) -> Option<Destination> {
    plan.routes.get(&prefix.parse().unwrap()).map(Route::destination)
}

#[test]
fn the_kernels_routes_decide() {
    let plan = plan(&Config::of_one_home(), &[5], &network(), &Known::new());
    assert_eq!(what(&plan, "::/0"), Some(Destination::World));
    assert_eq!(what(&plan, "2001:db8:1::/64"), Some(Destination::Kernel));
    assert_eq!(what(&plan, "2001:db8:1:0:1::/80"), Some(Destination::Site));
    assert_eq!(plan.routes[&"2001:db8:1:0:1::/80".parse().unwrap()].site, 5);
    assert_eq!(what(&plan, "2001:db8:1:0:1::5/128"), Some(Destination::Here), "our own");
    assert_eq!(what(&plan, "2001:db8:1:0:1:2::/96"), Some(Destination::Kernel), "docker's");
    assert_eq!(what(&plan, "2001:db8:9::/48"), Some(Destination::Here), "unreachable");
    assert_eq!(what(&plan, "64:ff9b:1::/96"), Some(Destination::Nat46));
    for never in ["ff00::/8", "fe80::/10", "::/80"] {
        assert_eq!(what(&plan, never), Some(Destination::Kernel), "{never}");
    }
    assert_eq!(what(&plan, "fe80::/64"), None, "every interface has this route");
}

#[test]
fn the_better_of_two_routes_counts() {
    let mut network = network();
    network.routes.push(route("::/0", &[4], 100, true));
    assert_eq!(
        what(&plan(&Config::of_one_home(), &[0], &network, &Known::new()), "::/0"),
        Some(Destination::Kernel)
    );
    network.routes.reverse();
    assert_eq!(
        what(&plan(&Config::of_one_home(), &[0], &network, &Known::new()), "::/0"),
        Some(Destination::Kernel)
    );
}

/// As the README has it, on a VPS whose provider has put the prefix on the link as well; and the kernel's last resort.
#[test]
fn a_refusal_that_is_the_worse_route_does_not_count() {
    for turned in [false, true] {
        let mut network = network();
        network.routes.push(route("2001:db8:7::/64", &[2], 256, true));
        network.routes.push(route("2001:db8:7::/64", &[], 1024, false));
        network.routes.push(route("::/0", &[1], u32::MAX, false));
        if turned {
            network.routes.reverse();
        }
        let plan = plan(&Config::of_one_home(), &[0], &network, &Known::new());
        assert_eq!(what(&plan, "2001:db8:7::/64"), Some(Destination::World));
        assert_eq!(what(&plan, "::/0"), Some(Destination::World));
        assert_eq!(what(&plan, "2001:db8:1:0:1::5/128"), Some(Destination::Here));
    }
}

#[test]
fn ports_are_listed_on_the_uplinks_addresses() {
    let plan = plan(&Config::of_one_home(), &[0], &network(), &Known::new());
    let address = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 443);
    assert_eq!(plan.listening.keys().collect::<Vec<_>>(), [&address]);
    let listener = plan.listening[&address].promise;
    assert_eq!(u16::from_be_bytes(listener.mss), 1360);
}

#[test]
fn what_was_withdrawn_stays_withdrawn() {
    let first = plan(&Config::of_one_home(), &[0], &network(), &Known::new());
    let listeners = first.listeners();
    let (key, promise) = listeners.iter().next().unwrap();
    assert!(promise.offers_sack() && promise.offers_timestamps());
    let withdrawn = Offer::Withdrawn as u8;
    let known = Known::from([(*key, Listener { timestamps: withdrawn, ..*promise })]);
    let second = plan(&Config::of_one_home(), &[0], &network(), &known);
    assert_eq!(second.listeners(), known);
    assert_eq!(second.listening.values().next().unwrap().promise, known[key]);
    let mut without = Config::of_one_home();
    without.listen[0].timestamps = false;
    let off = plan(&without, &[0], &network(), &known).listeners()[key];
    assert_eq!((off.timestamps, off.offers_sack()), (Offer::Off as u8, true));
    // What was off on purpose is no lesson.
    let known = Known::from([(*key, off)]);
    assert_eq!(
        plan(&Config::of_one_home(), &[0], &network(), &known).listeners(),
        first.listeners()
    );
}

#[test]
fn what_was_lowered_stays_lowered() {
    let first = plan(&Config::of_one_home(), &[0], &network(), &Known::new());
    let listeners = first.listeners();
    let (key, promise) = listeners.iter().next().unwrap();
    let lowered = Listener { mss: 1000u16.to_be_bytes(), lowered: 1, ..*promise };
    let known = Known::from([(*key, lowered)]);
    let second = plan(&Config::of_one_home(), &[0], &network(), &known);
    assert_eq!(second.listeners(), known);
    // Nobody confirms it any more.
    let known = Known::from([(*key, Listener { lowered: 0, ..lowered })]);
    let third = plan(&Config::of_one_home(), &[0], &network(), &known);
    assert_eq!(third.listeners(), first.listeners());
    // A tunnel that carries less counts, and is no lesson.
    let known = Known::from([(*key, Listener { mss: 1380u16.to_be_bytes(), ..lowered })]);
    let fourth = plan(&Config::of_one_home(), &[0], &network(), &known);
    assert_eq!(fourth.listeners(), first.listeners());
}

#[test]
fn a_missing_tunnel_is_no_device() {
    let mut network = network();
    network.links.remove("wg0");
    let plan = plan(&Config::of_one_home(), &[0], &network, &Known::new());
    assert_eq!(plan.sites, [(0, Device::default())]);
    assert_eq!(what(&plan, "2001:db8:1:0:1::/80"), Some(Destination::Site));
}
