//! Backends that lack something, do not answer, or still know an old connection.

use super::*;

#[test]
fn windows_for_a_backend_that_refuses_scaling() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.syn_ack(None);
    assert_eq!(splice(&actions).unwrap().backend_scale, None);
    assert_eq!(to_backend(&actions)[0].window, 65535);
}

/// The longest `[dns] timeout` begins later than the handshake's own, and an old answer may be what ends it.
#[test]
fn a_name_that_takes_as_long_as_the_configuration_lets_it() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0));
    assert_eq!(bench.pass(10_100), []);
    let actions = bench.resolve(Ok(vec![backend(1)]));
    assert!(actions.contains(&Action::Expect { tuple: tuple(), backend: backend(1) }));
}

#[test]
fn one_backend_after_another() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1), backend(2), backend(3)]));
    let actions = bench.handle(Event::Unreachable { tuple: tuple(), backend: backend(1).address });
    assert!(
        matches!(&actions[..], [Action::Unexpect { backend: old, .. }, Action::Expect { backend: new, .. }, ..]
        if (*old, *new) == (backend(1), backend(2)))
    );
    let actions = bench.pass(1500);
    assert!(actions.contains(&Action::Expect { tuple: tuple(), backend: backend(3) }));
    let actions = bench.pass(5000);
    assert_eq!(outcome(&actions), Some(Outcome::BackendSilent));
}

#[test]
fn an_old_connection_is_cleared_a_bounded_number_of_times() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.server(ACK, Seq(77), Seq(1234), &[]);
    let [reset, syn] = to_backend(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((reset, syn.flags), (&Segment::reset(Seq(1234), None), Flags::SYN));
    let answered =
        (0..100).filter(|_| !bench.server(ACK, Seq(77), Seq(1234), &[]).is_empty()).count();
    assert!(answered < 10);
}
