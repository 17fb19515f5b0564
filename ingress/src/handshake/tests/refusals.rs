//! What a client is told that gets no connection, and when.

use super::*;

#[test]
fn refusals_are_exact() {
    let failures = [
        (ResolveError::NotFound, 112, Outcome::UnknownName),
        (ResolveError::OutsidePrefixes, 112, Outcome::OutsidePrefixes),
        (ResolveError::Denied, 112, Outcome::DeniedName),
        (ResolveError::Failed, 80, Outcome::DnsFailed),
    ];
    for (error, alert, expected) in failures {
        let mut bench = Bench::new(Protocol::Tls);
        let length = hello(0).len() as u32;
        bench.client(0, 0, ACK, &hello(0));
        let actions = bench.resolve(Err(error));
        let [said] = to_client(&actions)[..] else { panic!("{actions:?}") };
        assert_eq!(said.payload, [21, 3, 3, 0, 2, 2, alert]);
        assert_eq!((said.seq, said.ack), (COOKIE.plus(1), ISN.plus(1 + length)));
        assert!(said.has(Flags::FIN.with(Flags::PSH).with(ACK)));
        let said = said.clone();
        assert_eq!(to_client(&bench.pass(300)), [&said]);
        assert!(bench.client(length, 8, ACK, &[]).is_empty());
        let actions = bench.client(length, 8, ACK.with(Flags::FIN), &[]);
        let bye = to_client(&actions)[0];
        assert_eq!((bye.seq, bye.ack), (COOKIE.plus(9), ISN.plus(2 + length)));
        assert_eq!(outcome(&actions), Some(expected));
        assert!(bench.client(0, 0, ACK, &hello(0)).is_empty(), "a straggler began it anew");
    }
}

#[test]
fn resets_are_exact_and_repeated() {
    let mut bench = Bench::new(Protocol::Tls);
    let actions = bench.client(0, 0, ACK, b"GET / HTTP/1.1\r\n");
    assert_eq!(outcome(&actions), None, "it may be a tail");
    let actions = bench.pass(300);
    let reset = Segment::reset(COOKIE.plus(1), Some(ISN.plus(17)));
    assert_eq!(to_client(&actions), [&reset]);
    assert_eq!(outcome(&actions), Some(Outcome::NotTls));
    assert_eq!(to_client(&bench.client(0, 0, ACK, b"GET / HTTP/1.1\r\n")), [&reset]);
    bench.pass(10_000);

    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1)]));
    assert!(bench.server(Flags::RST.with(ACK), Seq(0), ISN, &[]).is_empty(), "not for our SYN");
    let actions = bench.server(Flags::RST.with(ACK), Seq(0), ISN.plus(1), &[]);
    assert_eq!(outcome(&actions), Some(Outcome::BackendRefused));
    let reset = Segment::reset(COOKIE.plus(1), Some(ISN.plus(1 + hello(0).len() as u32)));
    assert_eq!(to_client(&actions), [&reset]);
}

/// The reset that told the client may have been lost.
#[test]
fn a_client_whose_flow_was_not_written_is_reset_again() {
    let mut bench = Bench::new(Protocol::Tls);
    let hello = hello(0);
    bench.client(0, 0, ACK, &hello);
    bench.resolve(Ok(vec![backend(1)]));
    assert_eq!(outcome(&bench.syn_ack(Some(7))), Some(Outcome::Spliced));
    bench.machine.not_installed(tuple());
    let actions = bench.client(0, 0, ACK, &hello);
    let reset = Segment::reset(COOKIE.plus(1), Some(ISN.plus(1 + hello.len() as u32)));
    assert_eq!(to_client(&actions), [&reset]);
    assert!(to_backend(&actions).is_empty(), "{actions:?}");
    assert_eq!(bench.server(ACK, BACKEND_ISN.plus(1), ISN.plus(1), b"hi"), []);
}

#[test]
fn hellos_that_do_not_come_or_are_too_long() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0)[..9]);
    let actions = bench.pass(10_000);
    assert_eq!(outcome(&actions), Some(Outcome::HelloTimeout));
    assert!(to_client(&actions).last().unwrap().has(Flags::RST));
    bench.pass(10_000);
    let actions = bench.client(0, 0, ACK, &[22, 3, 1, 0x40, 0, 1, 0, 0x40, 1]);
    assert_eq!(to_client(&actions)[0].payload, [21, 3, 3, 0, 2, 2, 50]);
    assert_eq!(outcome(&bench.pass(20_000)), Some(Outcome::HelloTooLong));
}

#[test]
fn the_table_is_bounded() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.machine = Handshakes::new(Limits { connections: 0, ..Limits::default() });
    let actions = bench.client(0, 0, ACK, &hello(0));
    let reset = Segment::reset(COOKIE.plus(1), Some(ISN.plus(1 + hello(0).len() as u32)));
    assert_eq!(to_client(&actions), [&reset]);
    assert_eq!(outcome(&actions), Some(Outcome::Overloaded));
    assert!(bench.machine.is_empty());
}
