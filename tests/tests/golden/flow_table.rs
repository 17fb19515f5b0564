//! The flow table as the daemon writes it, in maps of the kernel.

use std::net::SocketAddrV4;

use ingress::dataplane::{Dataplane, FlowMaps, host};
use ingress::flows::{FlowTable, Survey, TRANSITORY, Way};
use ingress::handshake::{ClientTuple, Sender};
use ingress_common::maps::{CLOSING_FIN, CLOSING_RST};
use ingress_common::tcp::Flags;

use crate::bench::{Bench, bench, now};
use crate::pins::Pins;
use crate::place::{LISTEN, backend_key, client_key, splice, tuple};

/// Clients choose names, so there may be too many. The connection is worth more than its name.
#[test]
fn without_room_for_its_name_a_flow_is_installed() {
    let pins = Pins::new("names");
    let (dataplane, mut tables) = Dataplane::open(pins.path(), 64).unwrap();
    let numbers = (1..).take_while(|number| {
        tables.handshakes.flows.hosts.insert(number, host(&format!("n{number}.example")), 0).is_ok()
    });
    assert_eq!(numbers.count(), 1 << 16);
    let mut table = FlowTable::open(tables.handshakes.flows);
    table.install(tuple(), &splice(), now()).unwrap();
    let maps = FlowMaps::open(dataplane.directory()).unwrap();
    let flow = maps.to_backend.get(&client_key(), 0).unwrap();
    assert!(!maps.names().contains_key(&flow.host), "{}", flow.host);
}

/// A client may use one port to two addresses of ours, which to a backend are the same connection.
#[test]
fn one_port_to_two_addresses() {
    let other = SocketAddrV4::new([198, 51, 100, 9].into(), LISTEN.port());
    let second = ClientTuple { listen: other, ..tuple() };
    let mut bench = bench();
    let others = bench.flows.len();
    assert_eq!(bench.flows.make_way(second, &backend_key()), Way::Free);
    bench.install(&splice());
    assert_eq!(bench.flows.make_way(tuple(), &backend_key()), Way::Free, "its own");
    for (there, back, way) in [
        (0, 0, Way::Taken),
        (CLOSING_FIN, 0, Way::Taken),
        (0, CLOSING_FIN, Way::Taken),
        (CLOSING_FIN, CLOSING_FIN, Way::Cleared),
        (CLOSING_RST, 0, Way::Cleared),
        (0, CLOSING_RST, Way::Cleared),
    ] {
        bench.flows.remove(tuple());
        bench.install(&splice());
        let mut half = bench.maps.to_backend.get(&client_key(), 0).unwrap();
        half.closing = there;
        bench.maps.to_backend.insert(client_key(), half, 0).unwrap();
        let mut half = bench.maps.to_client.get(&backend_key(), 0).unwrap();
        half.closing = back;
        bench.maps.to_client.insert(backend_key(), half, 0).unwrap();
        assert_eq!(bench.flows.make_way(second, &backend_key()), way, "{there}, {back}");
    }
    assert_eq!(bench.flows.len(), others);
    // What a crash left of one.
    bench.install(&splice());
    bench.maps.to_backend.remove(&client_key()).unwrap();
    assert_eq!(bench.flows.make_way(second, &backend_key()), Way::Free);
    assert!(bench.maps.to_client.get(&backend_key(), 0).is_err());
}

/// A way back that a crash has left is in the way of the same client, too.
#[test]
fn a_way_back_without_a_flow() {
    let mut bench = bench();
    for clear in [clear_for_a_handshake, clear_by_a_survey] {
        bench.install(&splice());
        bench.maps.to_backend.remove(&client_key()).unwrap();
        clear(&mut bench);
        assert!(bench.maps.to_client.get(&backend_key(), 0).is_err());
        // The client has a flow to another backend meanwhile.
        bench.install(&splice());
        let mut half = bench.maps.to_backend.get(&client_key(), 0).unwrap();
        half.backend[15] ^= 1;
        bench.maps.to_backend.insert(client_key(), half, 0).unwrap();
        clear(&mut bench);
        assert!(bench.maps.to_client.get(&backend_key(), 0).is_err());
        assert!(bench.flows.remove(tuple()), "the flow itself stays");
        // And one that is whole stays.
        bench.install(&splice());
        clear(&mut bench);
        assert!(bench.maps.to_client.get(&backend_key(), 0).is_ok());
        assert!(bench.flows.remove(tuple()));
    }
}

fn clear_for_a_handshake(bench: &mut Bench) {
    assert_eq!(bench.flows.make_way(tuple(), &backend_key()), Way::Free);
}

fn clear_by_a_survey(bench: &mut Bench) {
    let survey = Survey::of(&bench.maps, bench.flows.closings(), now());
    for finding in survey.with_orphans(&bench.maps).findings() {
        assert!(bench.flows.sweep(&finding, now()).is_empty());
    }
}

/// The daemon passes on what was in the ring when the flow came to be, and no program sees that.
#[test]
fn a_flow_that_was_closed_by_what_the_daemon_passed_on() {
    let mut bench = bench();
    bench.install(&splice());
    let in_time = now() + TRANSITORY.as_nanos() as u64 + 1_000_000_000;
    for (sender, gone) in [(Sender::Client, false), (Sender::Backend, true)] {
        bench.flows.note_closing(tuple(), sender, Flags::ACK.with(Flags::FIN));
        let survey = Survey::of(&bench.maps, bench.flows.closings(), in_time);
        let ended: Vec<_> =
            survey.findings().flat_map(|finding| bench.flows.sweep(&finding, in_time)).collect();
        let ours = ended.iter().any(|(flow, _)| flow.tuple == tuple());
        assert_eq!((ours, bench.maps.to_backend.get(&client_key(), 0).is_err()), (gone, gone));
    }
}

/// The way back that another flow has by now is left alone.
#[test]
fn a_flow_takes_only_its_own_with_it() {
    let mut bench = bench();
    bench.install(&splice());
    let mut half = bench.maps.to_client.get(&backend_key(), 0).unwrap();
    half.listen = [198, 51, 100, 9];
    bench.maps.to_client.insert(backend_key(), half, 0).unwrap();
    assert!(bench.flows.remove(tuple()));
    assert!(bench.maps.to_client.get(&backend_key(), 0).is_ok());
    bench.maps.to_client.remove(&backend_key()).unwrap();
}
