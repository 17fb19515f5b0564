//! Exact numbers and moments, which a forgiving simulation does not look at.

use ingress_common::tcp::{Flags, Seq, SynOptions, Timestamps};

use super::*;
use crate::postgres::Request;

mod timestamps;

const COOKIE: Seq = Seq(0xffff_fffe);
const ISN: Seq = Seq(0x7fff_fff0);
const BACKEND_ISN: Seq = Seq(500);
const ACK: Flags = Flags::ACK;

fn tuple() -> ClientTuple {
    ClientTuple {
        client: "198.51.100.7:40000".parse().unwrap(),
        listen: "203.0.113.1:443".parse().unwrap(),
    }
}

fn backend(last: u16) -> Backend {
    Backend {
        address: format!("[2001:db8::{last:x}]:443").parse().unwrap(),
        source: "64:ff9b:1::c633:6407".parse().unwrap(),
        site: 0,
        mss_limit: 1360,
    }
}

pub(super) fn hello(size: usize) -> Vec<u8> {
    let mut extensions = b"\0\0\0\x0e\0\x0c\0\0\x09a.example".to_vec();
    extensions.extend([0, 51]);
    extensions.extend((size as u16).to_be_bytes());
    extensions.extend(vec![1; size]);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]], &body[..]].concat();
    [&[22, 3, 1], &(message.len() as u16).to_be_bytes()[..], &message].concat()
}

struct Bench {
    machine: Handshakes,
    cookie: Seq,
    now: Instant,
    protocol: Protocol,
    default_host: Option<HostName>,
    /// What segments of the client carry.
    client_stamps: Option<Timestamps>,
    /// What segments of the backend carry.
    backend_stamps: Option<Timestamps>,
}

impl Bench {
    fn new(protocol: Protocol) -> Self {
        let machine = Handshakes::new(Limits::default());
        Self {
            machine,
            cookie: COOKIE,
            now: Instant::now(),
            protocol,
            default_host: None,
            client_stamps: None,
            backend_stamps: None,
        }
    }

    fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        self.machine.handle(self.now, event, &mut out);
        out
    }

    /// A segment from the client, at an offset of its stream, acknowledging `acked` octets after our SYN-ACK.
    fn client(&mut self, offset: u32, acked: u32, flags: Flags, payload: &[u8]) -> Vec<Action> {
        let segment = Segment {
            seq: ISN.plus(1 + offset),
            ack: self.cookie.plus(1 + acked),
            flags,
            window: 1000,
            timestamps: self.client_stamps,
            payload: payload.to_vec(),
            ..Segment::default()
        };
        let admission = (acked == 0).then(|| Admission {
            cookie: self.cookie,
            client_isn: (offset == 0).then_some(ISN),
            options: SynOptions { mss: Some(1460), window_scale: Some(8), sack_permitted: true },
            promised_scale: Some(7),
            protocol: self.protocol,
            default_host: self.default_host.clone(),
        });
        self.handle(Event::Client { tuple: tuple(), segment, admission })
    }

    fn server(&mut self, flags: Flags, seq: Seq, ack: Seq, payload: &[u8]) -> Vec<Action> {
        let segment = Segment { seq, ack, flags, payload: payload.to_vec(), ..Segment::default() }
            .stamped(self.backend_stamps);
        self.handle(Event::Backend { tuple: tuple(), from: backend(1).address, segment })
    }

    fn syn_ack(&mut self, window_scale: Option<u8>) -> Vec<Action> {
        let options = SynOptions { mss: Some(1220), window_scale, sack_permitted: false };
        let (flags, ack) = (Flags::SYN.with(ACK), ISN.plus(1));
        let segment = Segment { seq: BACKEND_ISN, ack, flags, options, ..Segment::default() }
            .stamped(self.backend_stamps);
        self.handle(Event::Backend { tuple: tuple(), from: backend(1).address, segment })
    }

    fn resolve(&mut self, result: Result<Vec<Backend>, ResolveError>) -> Vec<Action> {
        let host = "a.example".parse().unwrap();
        self.handle(Event::Resolved { tuple: tuple(), host, result })
    }

    fn pass(&mut self, milliseconds: u64) -> Vec<Action> {
        let until = self.now + Duration::from_millis(milliseconds);
        let mut out = Vec::new();
        while let Some(at) = self.machine.next_timeout().filter(|&at| at <= until) {
            self.now = at;
            self.machine.handle_timeout(at, &mut out);
        }
        self.now = until;
        out
    }
}

fn to_client(actions: &[Action]) -> Vec<&Segment> {
    let mut segments = Vec::new();
    for action in actions {
        if let Action::ToClient { segment, .. } = action {
            segments.push(segment);
        }
    }
    segments
}

fn to_backend(actions: &[Action]) -> Vec<&Segment> {
    let mut segments = Vec::new();
    for action in actions {
        if let Action::ToBackend { segment, .. } = action {
            segments.push(segment);
        }
    }
    segments
}

fn outcome(actions: &[Action]) -> Option<Outcome> {
    actions.iter().find_map(|action| {
        if let Action::Finish { outcome, .. } = action { Some(*outcome) } else { None }
    })
}

fn splice(actions: &[Action]) -> Option<&Splice> {
    actions.iter().find_map(|action| {
        if let Action::Install { splice, .. } = action { Some(&**splice) } else { None }
    })
}

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
    assert_eq!(
        (installed.watch, installed.client_sack, installed.backend_sack),
        (None, true, false)
    );
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
        matches!(&late[..], [Action::ToBackend { segment, .. }] if segment.ack == BACKEND_ISN.plus(1))
    );
    assert!(bench.pass(6000).is_empty() && bench.machine.next_timeout().is_none());
}

#[test]
fn windows_for_a_backend_that_refuses_scaling() {
    let mut bench = Bench::new(Protocol::Tls);
    bench.client(0, 0, ACK, &hello(0));
    bench.resolve(Ok(vec![backend(1)]));
    let actions = bench.syn_ack(None);
    assert_eq!(splice(&actions).unwrap().backend_scale, None);
    assert_eq!(to_backend(&actions)[0].window, 65535);
}

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

#[test]
fn owed_octets_that_nobody_takes() {
    let mut bench = Bench::new(Protocol::Tls);
    let hello = hello(0);
    bench.client(0, 0, ACK, &hello[..30]);
    bench.pass(20);
    bench.client(30, 0, ACK, &hello[30..]);
    bench.resolve(Ok(vec![backend(1)]));
    bench.syn_ack(Some(7));
    let actions = bench.pass(60_000);
    assert_eq!(outcome(&actions), Some(Outcome::BackendSilent));
    assert!(actions.contains(&Action::Uninstall { tuple: tuple() }));
    let reset = to_client(&actions)[0];
    assert_eq!((reset.seq, reset.flags), (COOKIE.plus(1), Flags::RST.with(ACK)));
}

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
