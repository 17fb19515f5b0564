//! Hellos in one segment and in several, in order and not, and those that name nobody.

use super::*;

#[test]
fn a_hello_in_one_segment() {
    let mut bench = Bench::new(Protocol::Tls);
    let hello = hello(1200);
    let actions = bench.client(0, 0, ACK, &hello);
    assert!(
        matches!(&actions[..], [Action::Pend { .. }, Action::Resolve { host, .. }] if host.as_str() == "a.example")
    );
    let actions = bench.resolve(Ok(vec![backend(1)]));
    assert!(matches!(actions[0], Action::Expect { .. }));
    let [syn] = to_backend(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!((syn.seq, syn.flags, syn.window), (ISN, Flags::SYN, 65535));
    let options = SynOptions { mss: Some(1360), window_scale: Some(8), sack_permitted: true };
    assert_eq!(syn.options, options);
    let actions = bench.syn_ack(Some(7));
    let installed = splice(&actions).unwrap();
    assert_eq!(installed.delta(), COOKIE.0.wrapping_sub(BACKEND_ISN.0));
    assert_eq!(installed.watch, None);
    let [first, second] = to_backend(&actions)[..] else { panic!("{actions:?}") };
    assert_eq!(
        (first.seq, first.ack, first.payload.len()),
        (ISN.plus(1), BACKEND_ISN.plus(1), 1220)
    );
    assert_eq!((second.seq, second.flags), (ISN.plus(1221), ACK.with(Flags::PSH)));
    assert_eq!((first.flags, first.window), (ACK, 1000));
    assert_eq!([&first.payload[..], &second.payload].concat(), hello);
    assert_eq!(outcome(&actions), Some(Outcome::Spliced));
    // A retransmission that was handed up before the flow stood goes where it belongs, and begins nothing.
    let late = bench.client(0, 0, ACK, &hello);
    assert!(
        matches!(&late[..], [Action::ToBackend { segment, .. }, ..] if segment.ack == BACKEND_ISN.plus(1))
    );
    assert!(bench.pass(6000).is_empty() && bench.machine.next_timeout().is_none());
}

/// The kernel hands up whole GRO batches, and no raw socket takes them.
#[test]
fn what_is_passed_on_is_cut_to_size() {
    let mut bench = Bench::new(Protocol::Tls);
    let (hello, fin) = (hello(0), ACK.with(Flags::FIN).with(Flags::PSH));
    bench.client(0, 0, ACK, &hello);
    bench.resolve(Ok(vec![backend(1)]));
    bench.syn_ack(Some(7));
    let batch: Vec<u8> = (0..4000).map(|n| n as u8).collect();
    let actions = bench.client(hello.len() as u32, 0, fin, &batch);
    let begin = ISN.plus(1 + hello.len() as u32);
    is_cut(&to_backend(&actions), begin, &batch);
    let actions = bench.server(fin, BACKEND_ISN.plus(1), ISN.plus(1), &batch);
    is_cut(&to_client(&actions), COOKIE.plus(1), &batch);
}

fn is_cut(segments: &[&Segment], begin: Seq, batch: &[u8]) {
    let mut next = begin;
    for segment in segments {
        assert!(segment.seq == next && segment.payload.len() <= 1220, "{segments:?}");
        next = segment.end();
    }
    assert_eq!(next, begin.plus(batch.len() as u32));
    let (last, others) = segments.split_last().unwrap();
    assert_eq!(last.flags, ACK.with(Flags::FIN).with(Flags::PSH));
    assert!(others.len() == 3 && others.iter().all(|segment| segment.flags == ACK));
}

#[test]
fn segments_before_the_first_wait_for_it() {
    let mut bench = Bench::new(Protocol::Tls);
    let hello = hello(3000);
    assert!(matches!(bench.client(2000, 0, ACK, &hello[2000..])[..], [Action::Pend { .. }]));
    assert!(bench.client(1000, 0, ACK, &hello[1000..2000]).is_empty());
    let actions = bench.client(0, 0, ACK, &hello[..1000]);
    assert!(matches!(actions[..], [Action::Resolve { .. }]));
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.syn_ack(None);
    let replayed: Vec<u8> =
        to_backend(&actions).iter().flat_map(|segment| segment.payload.clone()).collect();
    assert_eq!(replayed, hello);
}

#[test]
fn a_tail_that_the_cookie_takes_for_the_beginning_waits_too() {
    let mut bench = Bench::new(Protocol::Tls);
    let hello = hello(600);
    let (head, tail) = hello.split_at(300);
    let segment = Segment {
        seq: ISN.plus(1 + 300),
        ack: COOKIE.plus(1),
        flags: ACK,
        payload: tail.to_vec(),
        ..Segment::default()
    };
    let admission = Some(Admission {
        cookie: COOKIE,
        client_isn: Some(ISN.plus(300)),
        options: SynOptions::default(),
        promised_scale: None,
        protocol: Protocol::Tls,
        default_host: None,
    });
    let actions = bench.handle(Event::Client { tuple: tuple(), segment, admission });
    assert_eq!(outcome(&actions), None);
    bench.pass(100);
    let actions = bench.client(0, 0, ACK, head);
    assert!(matches!(actions[..], [Action::Resolve { .. }]), "{actions:?}");
}

#[test]
fn without_a_name() {
    let mut nameless = hello(0);
    // The extension's type becomes one that nobody knows.
    let at = nameless.windows(4).position(|octets| octets == [0, 0, 0, 0x0e]).unwrap();
    nameless[at] = 0x3a;
    let mut bench = Bench::new(Protocol::Tls);
    assert_eq!(to_client(&bench.client(0, 0, ACK, &nameless))[0].payload[6], 112);
    let mut bench = Bench::new(Protocol::Tls);
    bench.default_host = Some("default.example".parse().unwrap());
    let actions = bench.client(0, 0, ACK, &nameless);
    assert!(
        matches!(&actions[1], Action::Resolve { host, .. } if host.as_str() == "default.example")
    );
}
