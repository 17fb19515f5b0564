//! What was acknowledged to the client is owed to the backend, by the next daemon too.

use super::*;

#[test]
fn an_incomplete_hello_is_acknowledged_and_then_owed() {
    let mut bench = Bench::new(Protocol::Tls);
    let hello = hello(0);
    bench.client(0, 0, ACK, &hello[..30]);
    assert!(bench.pass(19).is_empty());
    let actions = bench.pass(1);
    let [ack] = to_client(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((ack.seq, ack.ack, ack.flags), (COOKIE.plus(1), ISN.plus(31), ACK));
    assert!(30 + (u32::from(ack.window) << 7) >= 16640, "the right edge went back");
    // From then on at once; keepalives too.
    assert_eq!(to_client(&bench.client(30, 0, ACK, &hello[30..40]))[0].ack, ISN.plus(41));
    assert_eq!(to_client(&bench.client(39, 0, ACK, &[]))[0].ack, ISN.plus(41));
    bench.client(40, 0, ACK, &hello[40..]);
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.syn_ack(Some(7));
    assert_eq!(splice(&actions).unwrap().watch, Some(ISN.plus(41)));
    assert_eq!(outcome(&actions), None);
    let again = bench.pass(300);
    assert_eq!(to_backend(&again)[0].payload, &hello[..40]);
    let acked = |ack| Event::BackendAcked { tuple: tuple(), ack };
    assert_eq!(outcome(&bench.handle(acked(ISN.plus(0x4000_0000)))), None);
    assert!(bench.handle(acked(ISN.plus(21))).is_empty());
    let again = bench.pass(600);
    assert_eq!(
        (to_backend(&again)[0].seq, &to_backend(&again)[0].payload[..]),
        (ISN.plus(21), &hello[20..40])
    );
    let actions = bench.handle(acked(ISN.plus(41)));
    assert_eq!(outcome(&actions), Some(Outcome::Spliced));
}

#[test]
fn another_daemon_goes_on_with_what_was_acknowledged() {
    let mut bench = Bench::new(Protocol::Postgres);
    let (request, hello) = (Request::Ssl.octets(), hello(0));
    let actions = bench.client(0, 0, ACK, request);
    let Action::Owe { owed, .. } = &actions[1] else { panic!("{actions:?}") };
    assert_eq!((&owed.octets[..], owed.client_isn), (&request[..], ISN));
    bench.client(8, 1, ACK, &hello[..30]);
    let actions = bench.pass(20);
    let [Action::Owe { owed, .. }, Action::ToClient { segment, .. }] = &actions[..] else {
        panic!("not put down before it was acknowledged: {actions:?}")
    };
    assert_eq!((owed.octets.len(), segment.ack), (38, ISN.plus(39)));

    bench.machine = Handshakes::new(Limits::default());
    let admission = Admission {
        cookie: COOKIE,
        client_isn: Some(ISN),
        options: SynOptions { mss: Some(1460), window_scale: Some(8), sack_permitted: true },
        promised_scale: Some(7),
        protocol: Protocol::Postgres,
        default_host: None,
    };
    let mut actions = Vec::new();
    bench.machine.resume(bench.now, tuple(), &admission, owed, &mut actions);
    // What is said again has the numbers that it had.
    let [answer, acknowledgment] = to_client(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((answer.seq, &answer.payload[..]), (COOKIE.plus(1), &b"S"[..]));
    assert_eq!((acknowledgment.seq, acknowledgment.ack), (COOKIE.plus(2), ISN.plus(39)));
    bench.client(38, 1, ACK, &hello[30..]);
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.syn_ack(Some(7));
    assert_eq!(to_backend(&actions)[0].payload, request);
    let (seq, ack) = (BACKEND_ISN.plus(1), ISN.plus(9));
    let actions = bench.server(ACK, seq, ack, b"S");
    assert!(splice(&actions).unwrap().watch.is_some());
    assert_eq!(to_backend(&actions)[0].payload, hello);
}

/// How long the whole took, nobody knows then.
#[test]
fn a_delivery_that_another_daemon_began_has_no_duration() {
    let mut bench = acknowledged_and_resolved();
    let actions = bench.syn_ack(Some(7));
    let splice = Box::new(splice(&actions).unwrap().clone());
    let owed = Owed {
        cookie: COOKIE,
        client_isn: ISN,
        window: 1000,
        timestamps: None,
        octets: hello(0)[..30].to_vec(),
    };
    let acked = Event::BackendAcked { tuple: tuple(), ack: splice.watch.unwrap() };
    bench.pass(1000);
    assert_eq!(elapsed(&bench.handle(acked.clone())), Some(Duration::from_millis(20)));

    bench.machine = Handshakes::new(Limits::default());
    bench.machine.resume_delivery(bench.now, tuple(), splice, owed, &mut Vec::new());
    assert_eq!(elapsed(&bench.handle(acked)), None);
}

fn elapsed(actions: &[Action]) -> Option<Duration> {
    let mut spliced = actions.iter().filter_map(|action| {
        if let Action::Finish { outcome: Outcome::Spliced, elapsed, .. } = action {
            Some(*elapsed)
        } else {
            None
        }
    });
    spliced.next().expect("an end")
}

/// A client that has nothing left to repeat, and whose backend has not answered yet.
fn acknowledged_and_resolved() -> Bench {
    let mut bench = Bench::new(Protocol::Tls);
    let hello = hello(0);
    bench.client(0, 0, ACK, &hello[..30]);
    bench.pass(20);
    bench.client(30, 0, ACK, &hello[30..]);
    bench.resolve(Ok(vec![backend(1)]));
    bench
}

#[test]
fn owed_octets_that_nobody_takes() {
    let mut bench = acknowledged_and_resolved();
    bench.syn_ack(Some(7));
    let actions = bench.pass(60_000);
    assert_eq!(outcome(&actions), Some(Outcome::BackendSilent));
    assert!(actions.contains(&Action::Uninstall { tuple: tuple() }));
    let reset = to_client(&actions)[0];
    assert_eq!((reset.seq, reset.flags), (COOKIE.plus(1), Flags::RST.with(ACK)));
}

/// Who has ended the flow wants nothing of it delivered any more.
#[test]
fn nothing_is_owed_of_a_flow_that_was_killed() {
    let mut bench = acknowledged_and_resolved();
    let mut actions = Vec::new();
    bench.machine.end_delivery(bench.now, tuple(), &mut actions);
    assert_eq!(actions, [], "there is no flow yet");
    assert_eq!(outcome(&bench.syn_ack(Some(7))), None, "octets are owed");
    bench.machine.end_delivery(bench.now, tuple(), &mut actions);
    assert_eq!(outcome(&actions), Some(Outcome::Spliced));
    assert!(bench.machine.is_empty());
    assert_eq!(bench.pass(60_000), []);
}
