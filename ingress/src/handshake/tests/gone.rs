//! Clients that go, and those that come back on the same tuple.

use super::*;

#[test]
fn clients_that_go() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0)[..9]);
    assert!(to_client(&bench.client(3, 0, Flags::RST, &[]))[0].has(ACK), "challenged");
    assert_eq!(outcome(&bench.client(9, 0, Flags::RST, &[])), Some(Outcome::ClientGone));
    bench.pass(10_000);
    bench.client(0, 0, ACK, &hello(0)[..9]);
    let actions = bench.client(9, 0, ACK.with(Flags::FIN), &[]);
    assert_eq!(to_client(&actions), [&Segment::reset(COOKIE.plus(1), Some(ISN.plus(11)))]);
    bench.pass(10_000);
    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.client(hello(0).len() as u32, 0, Flags::RST, &[]);
    assert_eq!(to_backend(&actions), [&Segment::reset(ISN.plus(1), None)]);
}

#[test]
fn a_new_connection_takes_the_tuple_over_and_an_old_segment_does_not() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1)]));
    bench.cookie = Seq(7_000_000);
    assert!(bench.client(0, 0, ACK, &[]).is_empty(), "nothing without octets");
    let actions = bench.client(0, 0, ACK, &hello(0));
    assert_eq!(to_backend(&actions), [&Segment::reset(ISN.plus(1), None)]);
    assert_eq!(outcome(&actions), Some(Outcome::Replaced));
    assert!(actions.contains(&Action::Pend { tuple: tuple() }));
    bench.cookie = COOKIE;
    assert!(bench.client(0, 0, ACK, &hello(0)).is_empty(), "the old one came back");
    bench.cookie = Seq(7_000_000);
    bench.resolve(Ok(vec![backend(1)]));
    assert_eq!(splice(&bench.syn_ack(None)).unwrap().cookie, Seq(7_000_000));
    assert_eq!(bench.machine.len(), 0);
}

/// No program has seen the segment, and the flow would stand for hours.
#[test]
fn an_end_that_closes_in_a_segment_that_is_passed_on() {
    let mut bench = Bench::new(Protocol::Tls);
    let hello = hello(0);
    bench.client(0, 0, ACK, &hello);
    bench.resolve(Ok(vec![backend(1)]));
    bench.syn_ack(Some(7));
    let (length, seq, ack) = (hello.len() as u32, BACKEND_ISN.plus(1), ISN.plus(1));
    for closing in [ACK.with(Flags::FIN), Flags::RST.with(ACK)] {
        let closes = |sender| [Action::Closing { tuple: tuple(), sender, flags: closing }];
        let actions = bench.client(length, 0, closing, &[]);
        assert_eq!((to_backend(&actions).len(), &actions[1..]), (1, &closes(Sender::Client)[..]));
        let actions = bench.server(closing, seq, ack, &[]);
        assert_eq!((to_client(&actions).len(), &actions[1..]), (1, &closes(Sender::Backend)[..]));
    }
    assert_eq!(bench.server(ACK, seq, ack, &[]).len(), 1);
}
