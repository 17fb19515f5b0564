//! What is said before TLS on a port of PostgreSQL, on both sides.

use super::*;

#[test]
fn postgres_word_for_word() {
    let mut bench = Bench::new(Protocol::Postgres);
    let (gss, ssl) = (Request::GssEnc.octets(), Request::Ssl.octets());
    let said = |actions: &[Action]| {
        let [segment] = to_client(actions)[..] else { panic!("{actions:?}") };
        (segment.seq, segment.ack, segment.payload.clone())
    };
    assert_eq!(said(&bench.client(0, 0, ACK, gss)), (COOKIE.plus(1), ISN.plus(9), b"N".to_vec()));
    assert_eq!(said(&bench.client(8, 1, ACK, ssl)), (COOKIE.plus(2), ISN.plus(17), b"S".to_vec()));
    // The answer was lost.
    assert_eq!(said(&bench.client(8, 1, ACK, ssl)), (COOKIE.plus(2), ISN.plus(17), b"S".to_vec()));
    bench.client(16, 2, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.syn_ack(Some(7));
    assert_eq!(to_backend(&actions)[0].payload, gss);
    let actions = bench.server(ACK, BACKEND_ISN.plus(1), ISN.plus(9), b"N");
    assert_eq!((&to_backend(&actions)[0].payload[..], splice(&actions)), (&ssl[..], None));
    assert_eq!(to_backend(&bench.pass(300))[0].payload, ssl);
    let actions = bench.server(ACK, BACKEND_ISN.plus(2), ISN.plus(17), b"S");
    let replayed = to_backend(&actions)[0];
    assert_eq!((replayed.seq, replayed.ack), (ISN.plus(17), BACKEND_ISN.plus(3)));
    assert_eq!(replayed.payload, hello(0));
    assert_eq!(
        (splice(&actions).unwrap().watch, outcome(&actions)),
        (None, Some(Outcome::Spliced))
    );
}

#[test]
fn postgres_backends_that_say_something_else() {
    for answer in [&b"N"[..], b"E", b"SS", b"Sx"] {
        let mut bench = Bench::new(Protocol::Postgres);
        bench.client(0, 0, ACK, Request::Ssl.octets());
        bench.client(8, 1, ACK, &hello(0));
        bench.resolve(Ok(vec![backend(1)]));
        bench.syn_ack(None);
        let actions = bench.server(ACK, BACKEND_ISN.plus(1), ISN.plus(9), answer);
        assert_eq!(to_backend(&actions), [&Segment::reset(ISN.plus(9), None)]);
        assert_eq!(to_client(&actions)[0].payload, [21, 3, 3, 0, 2, 2, 80]);
    }
}

#[test]
fn postgres_octets_before_the_answer_are_refused() {
    let mut bench = Bench::new(Protocol::Postgres);
    bench.client(0, 0, ACK, Request::Ssl.octets());
    let actions = bench.client(8, 0, ACK, &hello(0));
    assert_eq!(outcome(&actions), Some(Outcome::EarlyData));
}

/// By chance, one in some sixteen thousand does.
#[test]
fn an_acknowledgment_that_looks_like_a_cookie_begins_nothing() {
    let mut bench = Bench::new(Protocol::Postgres);
    bench.ambiguous = true;
    bench.client(0, 0, ACK, Request::Ssl.octets());
    let actions = bench.client(8, 1, ACK, &hello(0));
    assert_eq!(outcome(&actions), None, "{actions:?}");
    bench.resolve(Ok(vec![backend(1)]));
    bench.syn_ack(Some(7));
    let actions = bench.server(ACK, BACKEND_ISN.plus(1), ISN.plus(9), b"S");
    assert_eq!(outcome(&actions), Some(Outcome::Spliced));
}
