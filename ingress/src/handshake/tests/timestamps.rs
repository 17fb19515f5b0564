//! Timestamps through a handshake: whose clock is in which segment, and what a backend without one leads to.

use super::*;

/// Our clock in the SYN-ACK.
const SHOWN: u32 = 0xffff_ff00;
/// The client's.
const CLIENT: u32 = 0xffff_fff0;
/// The backend's.
const THEIRS: u32 = 77;

const fn stamps(value: u32, echo: u32) -> Option<Timestamps> {
    Some(Timestamps { value, echo })
}

fn stamped_bench(protocol: Protocol) -> Bench {
    let mut bench = Bench::new(protocol);
    bench.client_stamps = stamps(CLIENT, SHOWN);
    bench.backend_stamps = stamps(THEIRS, CLIENT);
    bench
}

fn withdrawn(actions: &[Action]) -> Vec<Promise> {
    let mut promises = Vec::new();
    for action in actions {
        if let Action::Withdraw { promise, .. } = action {
            promises.push(*promise);
        }
    }
    promises
}

#[test]
fn from_end_to_end() {
    let mut bench = stamped_bench(Protocol::Tls);
    let hello = hello(1200);
    bench.client(0, 0, ACK, &hello);
    let actions = bench.resolve(Ok(vec![backend(1)]));
    assert_eq!(to_backend(&actions)[0].timestamps, stamps(CLIENT, 0));
    // The client repeats itself, past the end of its clock, and then something older arrives.
    bench.client_stamps = stamps(3, SHOWN);
    bench.client(0, 0, ACK, &hello);
    bench.client_stamps = stamps(CLIENT + 1, SHOWN);
    bench.client(0, 0, ACK, &hello);
    let actions = bench.syn_ack(Some(7));
    assert_eq!(splice(&actions).unwrap().ts_delta, Some(SHOWN.wrapping_sub(THEIRS)));
    let [first, second] = to_backend(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((first.timestamps, second.timestamps), (stamps(3, THEIRS), stamps(3, THEIRS)));
    assert_eq!(first.payload.len(), 1220 - 12, "the option takes its part of the MSS");
    assert_eq!([&first.payload[..], &second.payload].concat(), hello);
    assert_eq!(withdrawn(&actions), [Promise::Sack]);
    // What was handed up before the flow stood is shifted as the programs would.
    bench.client_stamps = stamps(4, SHOWN);
    let late = bench.client(0, 0, ACK, &hello);
    assert_eq!(to_backend(&late)[0].timestamps, stamps(4, THEIRS));
    bench.backend_stamps = stamps(THEIRS + 9, 4);
    let late = bench.server(ACK, BACKEND_ISN.plus(1), ISN.plus(1), b"x");
    assert_eq!(to_client(&late)[0].timestamps, stamps(SHOWN + 9, 4));
}

#[test]
fn only_where_both_ends_have_them() {
    for (client, theirs) in [(None, None), (None, stamps(THEIRS, 0))] {
        let mut bench = stamped_bench(Protocol::Tls);
        (bench.client_stamps, bench.backend_stamps) = (client, theirs);
        bench.client(0, 0, ACK, &hello(0));
        let syn = bench.resolve(Ok(vec![backend(1)]));
        assert_eq!(to_backend(&syn)[0].timestamps, None);
        let actions = bench.syn_ack(Some(7));
        assert_eq!(splice(&actions).unwrap().ts_delta, None);
        assert_eq!(to_backend(&actions)[0].timestamps, None);
    }
}

#[test]
fn what_we_say_ourselves_carries_them() {
    let mut bench = stamped_bench(Protocol::Tls);
    let hello = hello(0);
    bench.client(0, 0, ACK, &hello[..30]);
    let actions = bench.pass(20);
    assert_eq!(to_client(&actions)[0].timestamps, stamps(SHOWN, CLIENT), "an acknowledgment");
    bench.client_stamps = stamps(CLIENT + 5, SHOWN);
    bench.client(30, 0, ACK, &hello[30..]);
    let actions = bench.resolve(Err(ResolveError::NotFound));
    assert_eq!(to_client(&actions)[0].timestamps, stamps(SHOWN, CLIENT + 5), "an alert");

    let mut bench = stamped_bench(Protocol::Tls);
    bench.client(0, 0, ACK, b"GET / HTTP/1.1");
    let actions = bench.pass(250);
    let [reset] = to_client(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((reset.flags, reset.timestamps), (Flags::RST.with(ACK), stamps(SHOWN, CLIENT)));
    bench.client_stamps = stamps(CLIENT + 6, SHOWN);
    let actions = bench.client(0, 0, ACK, b"GET / HTTP/1.1");
    assert_eq!(to_client(&actions)[0].timestamps, stamps(SHOWN, CLIENT + 6), "a reset once more");
}

#[test]
fn a_preamble_goes_on_with_the_backends_clock() {
    let mut bench = stamped_bench(Protocol::Postgres);
    bench.client(0, 0, ACK, Request::Ssl.octets());
    let hello = hello(0);
    bench.client(8, 1, ACK, &hello[..30]);
    bench.pass(20);
    bench.client(38, 1, ACK, &hello[30..]);
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.syn_ack(Some(7));
    assert_eq!(to_backend(&actions)[0].timestamps, stamps(CLIENT, THEIRS));
    bench.backend_stamps = stamps(THEIRS + 3, CLIENT);
    let actions = bench.server(ACK, BACKEND_ISN.plus(1), ISN.plus(9), b"S");
    assert_eq!(splice(&actions).unwrap().ts_delta, Some(SHOWN.wrapping_sub(THEIRS)));
    assert_eq!(to_backend(&actions)[0].timestamps, stamps(CLIENT, THEIRS + 3));
    // It never takes what we owe it, and both ends are told by their own clocks.
    let actions = bench.pass(60_000);
    let resets: Vec<_> = to_client(&actions).into_iter().chain(to_backend(&actions)).collect();
    let resets: Vec<_> = resets.iter().filter(|segment| segment.has(Flags::RST)).collect();
    let [to_client, to_backend] = resets[..] else { panic!("{actions:?}") };
    assert_eq!(to_client.timestamps, stamps(SHOWN + 3, CLIENT));
    assert_eq!(to_backend.timestamps, stamps(CLIENT, THEIRS + 3));
}

#[test]
fn a_backend_without_them_is_no_match() {
    let mut bench = stamped_bench(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1)]));
    bench.backend_stamps = None;
    let actions = bench.syn_ack(Some(7));
    assert_eq!(withdrawn(&actions), [Promise::Sack, Promise::Timestamps]);
    let [to_backend] = to_backend(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((to_backend.flags, to_backend.seq), (Flags::RST, ISN.plus(1)));
    let [to_client] = to_client(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((to_client.seq, to_client.flags), (COOKIE.plus(1), Flags::RST.with(ACK)));
    assert_eq!(outcome(&actions), Some(Outcome::BackendWithoutTimestamps));
    assert!(splice(&actions).is_none());
}

#[test]
fn another_backend_may_have_them() {
    let mut bench = stamped_bench(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1), backend(2)]));
    bench.backend_stamps = None;
    let actions = bench.syn_ack(Some(7));
    assert_eq!(outcome(&actions), None);
    let [reset, syn] = to_backend(&actions)[..] else { panic!("{actions:?}") };
    assert!(reset.has(Flags::RST) && syn.has(Flags::SYN));
    assert_eq!(syn.timestamps, stamps(CLIENT, 0));
}
