//! Tables that are made to match a plan.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use ingress::dataplane::Dataplane;
use ingress_common::maps::{Destination, Listener, ListenerKey, Route};

use crate::pins::Pins;

/// As many as either table has room for.
const ROOM: u16 = 4096;

/// Old and new together are too much, and each by itself is not.
#[test]
fn without_room_for_both_the_old_goes_first() {
    let pins = Pins::new("tables");
    let (_dataplane, mut tables) = Dataplane::open(pins.path(), 64).unwrap();
    for half in [0, 1] {
        let routes: HashMap<_, _> = (0..ROOM)
            .map(|nth| {
                let address = Ipv6Addr::new(0x2001, 0xdb8, half, nth, 0, 0, 0, 0);
                (format!("{address}/64").parse().unwrap(), Route::to(Destination::World))
            })
            .collect();
        tables.network.routes.replace(&routes).unwrap();
        let listeners: HashMap<_, _> = (0..ROOM)
            .map(|nth| {
                let [a, b] = nth.to_be_bytes();
                let address = [10, half as u8, a, b];
                let key = ListenerKey { address, port: [1, 187], reserved: [0; 2] };
                (key, Listener::default())
            })
            .collect();
        tables.network.listeners.replace(&listeners).unwrap();
        assert_eq!(tables.network.listeners.list().unwrap(), listeners);
    }
}
