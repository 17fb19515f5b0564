//! A SYN to the listed port is answered in place: the cookie, the options, the checksum, the way back.

use ingress_common::cookie;
use ingress_common::maps::{ClientKey, Listener};
use ingress_common::tcp::{Seq, SynOptions};
use ingress_common::verdict::{Cookie, DropReason};

use crate::bench::{Bench, Fate, Seen, bench, now};
use crate::frame::{DF, ETHERNET, Ip4, Tcp, flag, is_turned, read4, unpadded};
use crate::place::{
    self, CLIENT_ISN, KEYS, LISTEN, PROMISE, client_key, from_client, syn, to_client,
};
use crate::test_run::Skb;

const ECE: u8 = 0x40;
const CWR: u8 = 0x80;
const URG: u8 = 0x20;
/// AE, the third bit of Accurate ECN (RFC 9768), beside the data offset.
const AE: u8 = 1;

/// The answer, after everything about it has been checked that does not depend on the SYN's options.
#[track_caller]
fn answer(seen: &Seen) -> Tcp {
    assert_eq!(seen.fate, Fate::Sent, "{seen:?}");
    assert_eq!(seen.cookies, [Cookie::Sent]);
    assert!(is_turned(&seen.frame), "to whom it came from");
    let (ip, tcp) = read4(&seen.frame[ETHERNET..]);
    assert_eq!(ip, Ip4 { ttl: 64, fragment: DF, ..to_client() });
    let expected = Tcp {
        source: LISTEN.port(),
        destination: place::CLIENT.port(),
        ack: CLIENT_ISN + 1,
        flags: flag::SYN | flag::ACK,
        window: 16_640,
        seq: tcp.seq,
        options: tcp.options.clone(),
        ..Tcp::default()
    };
    assert_eq!(tcp, expected);
    tcp
}

/// The options, less our clock, which goes on all the time.
fn without_clock(tcp: &Tcp) -> Vec<u8> {
    let mut options = tcp.options.clone();
    if let Some(at) = options.windows(2).position(|two| two == [8, 10]) {
        options[at + 2..at + 6].fill(0);
    }
    options
}

/// What the cookie says when the first segment brings it back.
fn remembered(cookie: u32, key: &ClientKey) -> Option<SynOptions> {
    let admitted = cookie::check(&KEYS, now(), key, Seq(CLIENT_ISN + 1), Seq(cookie))?;
    assert_eq!(admitted.client_isn, Some(Seq(CLIENT_ISN)));
    assert_eq!(admitted.cookie, Seq(cookie));
    Some(admitted.options)
}

const MSS: [u8; 4] = [2, 4, 5, 180];
const SACK: [u8; 4] = [1, 1, 4, 2];
const SCALE: [u8; 4] = [1, 3, 3, 8];
const OUR_MSS: [u8; 4] = [2, 4, 5, 80];
const OUR_SCALE: [u8; 4] = [1, 3, 3, 7];
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0];
const OUR_TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 0, 1, 2, 3, 4];

/// Name, options offered, options answered, and MSS class, scale and SACK in the cookie.
type Case<'a> = (&'a str, &'a [u8], &'a [u8], (u16, Option<u8>, bool));

#[test]
fn options() {
    let linux = [&MSS[..], &[4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 8]].concat();
    let windows = [&MSS[..], &[1, 3, 3, 8, 1, 1, 4, 2]].concat();
    let unknown = [
        &MSS[..],
        &[30, 12, 0, 0x81, 1, 2, 3, 4, 5, 6, 7, 8], // MPTCP
        &[34, 2, 254, 4, 0xe2, 0xd4, 0xc3, 0xd9],   // TFO, SMC
        &[172, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0],   // Accurate ECN
    ]
    .concat();
    let all = [OUR_MSS, SACK, OUR_SCALE].concat();
    let stamped = [&OUR_MSS[..], &[4, 2], &OUR_TIMESTAMPS[2..], &OUR_SCALE].concat();
    let alone = [&OUR_MSS[..], &OUR_TIMESTAMPS].concat();
    let odd = [&[1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0][..], &[3, 3, 8, 4, 2]].concat();
    let cases: &[Case<'_>] = &[
        ("none", &[], &OUR_MSS, (536, None, false)),
        ("MSS", &MSS, &OUR_MSS, (1460, None, false)),
        ("small MSS", &[2, 4, 1, 0], &OUR_MSS, (216, None, false)),
        ("jumbo MSS", &[2, 4, 0x23, 0], &OUR_MSS, (1460, None, false)),
        ("SACK", &SACK, &[OUR_MSS, SACK].concat(), (536, None, true)),
        ("scale", &SCALE, &[OUR_MSS, OUR_SCALE].concat(), (536, Some(8), false)),
        ("scale 0", &[3, 3, 0, 1], &[OUR_MSS, OUR_SCALE].concat(), (536, Some(0), false)),
        ("scale above 14", &[3, 3, 99, 1], &[OUR_MSS, OUR_SCALE].concat(), (536, Some(14), false)),
        ("Linux", &linux, &stamped, (1460, Some(8), true)),
        ("Windows", &windows, &all, (1460, Some(8), true)),
        ("timestamps alone", &TIMESTAMPS, &alone, (536, None, false)),
        ("timestamps at an odd place", &odd, &stamped, (536, Some(8), true)),
        (
            "timestamps too short",
            &[8, 9, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0],
            &OUR_MSS,
            (536, None, false),
        ),
        ("timestamps cut off", &[1, 1, 8, 10, 1, 2, 3, 4], &OUR_MSS, (536, None, false)),
        ("unknown", &unknown, &OUR_MSS, (1460, None, false)),
        ("end of list", &[0, 0, 2, 4, 5, 180, 4, 2], &OUR_MSS, (536, None, false)),
        ("length of 0", &[9, 0, 4, 2], &OUR_MSS, (536, None, false)),
        ("length beyond", &[4, 2, 9, 60], &[OUR_MSS, SACK].concat(), (536, None, true)),
        ("odd length", &[2, 5, 5, 180, 0, 4, 2, 1], &[OUR_MSS, SACK].concat(), (536, None, true)),
        ("forty octets", &[1; 40], &OUR_MSS, (536, None, false)),
    ];
    let mut bench = bench();
    for (name, offered, answered, (mss, scale, sack)) in cases {
        let packet = syn(offered).over4(&from_client());
        for frame in [crate::frame::ethernet(&packet), unpadded(&packet)] {
            let tcp = answer(&bench.uplink_frame(&frame, Skb::default()));
            assert_eq!(without_clock(&tcp), *answered, "{name}");
            let expected =
                SynOptions { mss: Some(*mss), window_scale: *scale, sack_permitted: *sack };
            assert_eq!(remembered(tcp.seq, &client_key()), Some(expected), "{name}");
        }
    }
}

#[test]
fn a_listener_may_promise_less() {
    let mut bench = bench();
    let modest = Listener {
        mss: 1220u16.to_be_bytes(),
        window: 5000u16.to_be_bytes(),
        scale: 3,
        sack: 0,
        ..PROMISE
    };
    bench.listeners.replace(&[(place::listener_key(LISTEN), modest)].into()).unwrap();
    let offered = [MSS, SACK, SCALE].concat();
    let seen = bench.uplink(&syn(&offered).over4(&from_client()));
    let (_, tcp) = read4(seen.sent());
    assert_eq!(tcp.options, [[2, 4, 4, 196], [1, 3, 3, 3]].concat());
    assert_eq!(tcp.window, 5000);
    let options = remembered(tcp.seq, &client_key()).unwrap();
    assert!(!options.sack_permitted, "it was not promised");
}

/// ECN, in its old and its new form, is not negotiated: nobody here would keep it up.
#[test]
fn bits_that_are_not_echoed() {
    let mut bench = bench();
    for (flags, reserved) in [(ECE | CWR, 0), (ECE | CWR, AE), (0, AE), (0, 15), (flag::PSH, 0)] {
        let segment = Tcp { flags: flag::SYN | flags, reserved, ..syn(&MSS) };
        answer(&bench.uplink(&segment.over4(&Ip4 { tos: 0xff, ..from_client() })));
    }
    let urgent = Tcp { flags: flag::SYN | URG, urgent: 0x1234, ..syn(&MSS) };
    answer(&bench.uplink(&urgent.over4(&from_client())));
}

#[test]
fn the_cookie_is_the_tuples() {
    let mut bench = bench();
    let packet = syn(&MSS).over4(&from_client());
    let cookie = answer(&bench.uplink(&packet)).seq;
    assert_eq!(answer(&bench.uplink(&packet)).seq, cookie, "a repeated SYN is no new one");
    let [client, port] = [place::CLIENT.ip().octets(), [1, 2, 3, 4]];
    let stranger = ClientKey::new(port, [156, 64], LISTEN.ip().octets(), [1, 187]);
    assert_eq!(remembered(cookie, &stranger), None);
    let neighbour = ClientKey::new(client, [156, 65], LISTEN.ip().octets(), [1, 187]);
    assert_eq!(remembered(cookie, &neighbour), None);
    let other = Tcp { seq: 5, ..syn(&MSS) };
    let (_, tcp) = read4(bench.uplink(&other.over4(&from_client())).sent());
    assert_ne!(tcp.seq, cookie);
    assert_eq!(tcp.ack, 6);
}

/// A sum that was wrong stays wrong: a damaged SYN is not made good by its answer.
#[test]
fn a_damaged_syn_gets_a_damaged_answer() {
    let mut packet = syn(&MSS).over4(&from_client());
    packet[36] ^= 0x40;
    let seen = bench().uplink(&packet);
    let answered = seen.sent().to_vec();
    assert!(std::panic::catch_unwind(|| read4(&answered)).is_err());
}

#[test]
fn odd_syns() {
    let mut bench = bench();
    for flags in [flag::ACK, flag::RST, flag::FIN, flag::FIN | flag::ACK | flag::RST] {
        let segment = Tcp { flags: flag::SYN | flags, ..syn(&MSS) };
        expect_drop(&mut bench, &segment, DropReason::OddSyn);
    }
    let with_data = Tcp { payload: vec![7; 100], ..syn(&MSS) };
    expect_drop(&mut bench, &with_data, DropReason::OddSyn);
}

#[test]
fn without_a_daemon_nothing_is_answered() {
    let mut bench = bench();
    for beat in [0, now() - 3_100_000_000] {
        bench.secrets.beat(beat).unwrap();
        expect_drop(&mut bench, &syn(&MSS), DropReason::DaemonAway);
    }
    bench.secrets.beat(now() - 1_000_000_000).unwrap();
    answer(&bench.uplink(&syn(&MSS).over4(&from_client())));
    bench.secrets.beat(now() + 9_000_000_000).unwrap();
    answer(&bench.uplink(&syn(&MSS).over4(&from_client())));
}

#[track_caller]
fn expect_drop(bench: &mut Bench, segment: &Tcp, reason: DropReason) {
    let seen = bench.uplink(&segment.over4(&from_client()));
    assert_eq!(seen.fate, Fate::Dropped(reason), "{segment:?}");
    assert!(seen.records.is_empty() && seen.cookies.is_empty(), "{seen:?}");
}
