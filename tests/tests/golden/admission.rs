//! Segments that belong to no flow yet: what brings a cookie back, and what the daemon has asked for.

use ingress_common::cookie;
use ingress_common::tcp::{Seq, SynOptions};
use ingress_common::upcall::Upcall;
use ingress_common::verdict::{Cookie, DropReason, Traffic};

use crate::bench::{Bench, Fate, bench, now};
use crate::frame::{Ip4, Tcp, flag, read4, read6, unpadded};
use crate::place::{
    self, CLIENT, CLIENT_ISN, COOKIE, KEYS, LISTEN, backend_key, client_key, client_segment,
    from_backend, from_client, splice,
};
use crate::test_run::Skb;

/// A time slot of the cookies (`ingress-common/src/cookie.rs`).
const SLOT: u64 = 1 << 38;

fn minted(ago: u64) -> u32 {
    let options = SynOptions { mss: Some(1460), window_scale: Some(8), sack_permitted: true };
    cookie::mint(&KEYS, now().wrapping_sub(ago), &client_key(), Seq(CLIENT_ISN), &options).0
}

/// The client's first segment after the handshake.
fn first(cookie: u32) -> Tcp {
    Tcp { ack: cookie.wrapping_add(1), ..client_segment() }
}

fn bare(cookie: u32) -> Tcp {
    Tcp { flags: flag::ACK, payload: Vec::new(), ..first(cookie) }
}

#[track_caller]
fn expect_reset(bench: &mut Bench, segment: &Tcp, cookies: &[Cookie]) {
    let packet = segment.over4(&from_client());
    let seen = bench.uplink(&packet);
    assert_eq!(seen.fate, Fate::Dropped(DropReason::NoFlow), "{segment:?}");
    assert_eq!(seen.handed(Upcall::ResetClient), packet);
    assert_eq!(seen.cookies, cookies);
}

/// The whole conversation: our own SYN-ACK is what the client acknowledges.
#[test]
fn a_handshake() {
    let mut bench = bench();
    let syn = Tcp { flags: flag::SYN, ack: 0, payload: Vec::new(), ..client_segment() };
    let syn = Tcp { seq: CLIENT_ISN, options: vec![2, 4, 5, 180, 1, 3, 3, 8], ..syn };
    let (_, answer) = read4(bench.uplink(&syn.over4(&from_client())).sent());
    let seen = bench.uplink(&bare(answer.seq).over4(&from_client()));
    assert_eq!(seen.fate, Fate::Absorbed);
    assert!(seen.records.is_empty());
    let hello = first(answer.seq).over4(&from_client());
    let seen = bench.uplink(&hello);
    assert_eq!((seen.fate, seen.cookies.as_slice()), (Fate::Handed, &[Cookie::Accepted][..]));
    assert_eq!(seen.handed(Upcall::Client), hello, "exactly, without the padding");
    assert_eq!(seen.records[0].ifindex, 1);
}

#[test]
fn segments_of_every_length_are_handed_up_whole() {
    let mut bench = bench();
    let cookie = minted(0);
    for len in (1..30).chain([1400, 1900, 1960, 1991, 1992, 1993, 1994, 2500, 3300]) {
        let payload = (0..len).map(|nth| nth as u8).collect();
        let packet = Tcp { payload, ..first(cookie) }.over4(&from_client());
        let skb = Skb { gso_size: if len > 1460 { 1400 } else { 0 }, ..Skb::default() };
        let seen = bench.uplink_frame(&unpadded(&packet), skb);
        assert_eq!(seen.fate, Fate::Handed, "{len}");
        assert_eq!(seen.handed(Upcall::Client), packet, "{len}");
    }
}

#[test]
fn segments_that_overtook_the_first_are_let_in() {
    let mut bench = bench();
    let cookie = minted(0);
    for ahead in [1, 1400, 2800, 16_000, 32_000] {
        let segment = Tcp { seq: first(cookie).seq.wrapping_add(ahead), ..first(cookie) };
        let seen = bench.uplink(&segment.over4(&from_client()));
        assert_eq!((seen.fate, seen.cookies.as_slice()), (Fate::Handed, &[Cookie::Accepted][..]));
    }
    // Far off, in either direction, nobody's guess is good.
    for ahead in [70_000, 0x8000_0000, u32::MAX - 40_000] {
        let segment = Tcp { seq: first(cookie).seq.wrapping_add(ahead), ..first(cookie) };
        expect_reset(&mut bench, &segment, &[Cookie::Rejected]);
    }
}

#[test]
fn cookies_age() {
    let mut bench = bench();
    // A machine that has just booted has no slot before.
    if now() > SLOT {
        let seen = bench.uplink(&first(minted(SLOT)).over4(&from_client()));
        assert_eq!(seen.fate, Fate::Handed, "of the slot before");
    }
    for ago in [2 * SLOT, 3 * SLOT] {
        expect_reset(&mut bench, &first(minted(ago)), &[Cookie::Rejected]);
    }
}

#[test]
fn strangers_are_reset() {
    let mut bench = bench();
    let cookie = minted(0);
    for wrong in [cookie ^ 1 << 31, cookie ^ 1, cookie ^ 1 << 4, cookie.wrapping_sub(1), 0] {
        expect_reset(&mut bench, &first(wrong), &[Cookie::Rejected]);
        expect_reset(&mut bench, &bare(wrong), &[Cookie::Rejected]);
    }
    let other = Tcp { source: CLIENT.port() + 1, ..first(cookie) };
    expect_reset(&mut bench, &other, &[Cookie::Rejected]);
    // Connected, and left without a word.
    let fin = Tcp { flags: flag::ACK | flag::FIN, payload: Vec::new(), ..first(cookie) };
    expect_reset(&mut bench, &fin, &[]);
    let with_data = Tcp { flags: flag::ACK | flag::FIN, ..first(cookie) };
    assert_eq!(bench.uplink(&with_data.over4(&from_client())).fate, Fate::Handed);
    // On the heels of a hello that the daemon has not looked at yet. One number in 256 passes for the first.
    let absorbed = (1..=20u32).filter(|behind| {
        let fin = Tcp { seq: fin.seq.wrapping_add(100 * behind), ..fin.clone() };
        bench.uplink(&fin.over4(&from_client())).fate == Fate::Absorbed
    });
    assert!(absorbed.count() >= 18);
}

#[test]
fn resets_and_nonsense_end_quietly() {
    let mut bench = bench();
    let cookie = minted(0);
    for (flags, reason) in [
        (flag::RST, DropReason::StrayReset),
        (flag::RST | flag::ACK, DropReason::StrayReset),
        (0, DropReason::Malformed),
        (flag::FIN, DropReason::Malformed),
        (flag::PSH, DropReason::Malformed),
    ] {
        let seen = bench.uplink(&Tcp { flags, ..first(cookie) }.over4(&from_client()));
        assert_eq!(seen.fate, Fate::Dropped(reason), "{flags:#x}");
        assert!(seen.records.is_empty() && seen.cookies.is_empty());
    }
}

#[test]
fn of_a_pending_client_everything_is_handed_up() {
    let mut bench = bench();
    bench.marks.pend(&client_key(), now()).unwrap();
    for flags in (0..=255).filter(|flags| flags & flag::SYN == 0) {
        for payload in [vec![], vec![4; 20]] {
            let packet = Tcp { flags, payload, ..first(COOKIE) }.over4(&from_client());
            let seen = bench.uplink(&packet);
            assert_eq!(seen.fate, Fate::Handed, "{flags:#x}");
            assert_eq!(seen.handed(Upcall::Client), packet);
            assert!(seen.cookies.is_empty());
        }
    }
    // A SYN is a new beginning even then. Emulated, the others have taken longer than a daemon may be silent.
    bench.secrets.beat(now()).unwrap();
    let syn = Tcp { flags: flag::SYN, payload: Vec::new(), ..client_segment() };
    assert_eq!(bench.uplink(&syn.over4(&from_client())).cookies, [Cookie::Sent]);
    let neighbour = Tcp { source: CLIENT.port() + 1, ..first(COOKIE) };
    expect_reset(&mut bench, &neighbour, &[Cookie::Rejected]);
    bench.marks.unpend(&client_key());
    expect_reset(&mut bench, &first(COOKIE), &[Cookie::Rejected]);
}

/// A flow goes before the marks: while both are there, the kernel translates.
#[test]
fn a_flow_outranks_its_marks() {
    let mut bench = bench();
    bench.install(&splice());
    bench.marks.pend(&client_key(), now()).unwrap();
    bench.marks.expect(&backend_key(), now()).unwrap();
    assert_eq!(bench.uplink(&client_segment().over4(&from_client())).fate, Fate::Sent);
    assert_eq!(bench.tunnel(&place::backend_segment().over6(&from_backend())).fate, Fate::Sent);
}

/// A SYN on the tuple of a flow: the flow goes on until the new cookie has come back.
#[test]
fn a_known_tuple_opened_anew() {
    let mut bench = bench();
    bench.install(&splice());
    let syn = Tcp { flags: flag::SYN, seq: 77, ack: 0, payload: Vec::new(), ..client_segment() };
    let seen = bench.uplink(&syn.over4(&from_client()));
    assert_eq!(seen.cookies, [Cookie::Sent]);
    let cookie = read4(seen.sent()).1.seq;
    assert_eq!(bench.to_backend().reopened, cookie.to_be_bytes());
    assert_eq!((bench.to_backend().packets, bench.to_backend().closing), (0, 0));

    let old = client_segment();
    let seen = bench.uplink(&old.over4(&from_client()));
    assert_eq!(read6(seen.sent()).1.payload, old.payload);
    assert_eq!(seen.traffic[0].0, Traffic::Nat46In);

    let ack = Tcp { seq: 78, ack: cookie.wrapping_add(1), ..bare(cookie) };
    let seen = bench.uplink(&ack.over4(&from_client()));
    assert_eq!((seen.fate, seen.cookies.as_slice()), (Fate::Absorbed, &[Cookie::Reopened][..]));
    let hello = Tcp { seq: 78, ..first(cookie) }.over4(&from_client());
    let seen = bench.uplink(&hello);
    assert_eq!((seen.fate, seen.cookies.as_slice()), (Fate::Handed, &[Cookie::Accepted][..]));
    assert_eq!(seen.handed(Upcall::Client), hello);
    assert_eq!(bench.uplink(&old.over4(&from_client())).fate, Fate::Sent, "still there");
    assert_eq!(bench.to_backend().packets, 2);
}

/// Forged SYNs alone change nothing: the flow's own segments do not carry the new cookie.
#[test]
fn a_known_tuple_is_not_torn_down_by_syns() {
    let mut bench = bench();
    bench.install(&splice());
    for seq in 0..20 {
        let syn = Tcp { flags: flag::SYN, seq, ack: 0, payload: Vec::new(), ..client_segment() };
        assert_eq!(bench.uplink(&syn.over4(&from_client())).fate, Fate::Sent);
        assert_eq!(bench.uplink(&client_segment().over4(&from_client())).fate, Fate::Sent);
    }
    let odd = Tcp { flags: flag::SYN | flag::ACK, ..client_segment() };
    let seen = bench.uplink(&odd.over4(&from_client()));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::OddSyn));
}

/// A flow whose port is listed no more lives on, but no new one begins there, in the kernel neither.
#[test]
fn a_port_that_was_taken_off_the_list() {
    let mut bench = bench();
    bench.install(&splice());
    bench.listeners.replace(&[].into()).unwrap();
    assert_eq!(bench.uplink(&client_segment().over4(&from_client())).fate, Fate::Sent);
    let syn = Tcp { flags: flag::SYN, payload: Vec::new(), ..client_segment() };
    let seen = bench.uplink(&syn.over4(&from_client()));
    assert_eq!(seen.fate, Fate::Dropped(DropReason::NoFlow));
}

#[test]
fn ports_that_are_not_listed_are_the_kernels() {
    let mut bench = bench();
    let elsewhere = Ip4 { destination: "198.51.100.3".parse().unwrap(), ..from_client() };
    for flags in [flag::SYN, flag::ACK, flag::RST, flag::FIN | flag::ACK] {
        for payload in [vec![], vec![1; 3], vec![1; 100]] {
            let segment = Tcp { flags, payload, ..first(minted(0)) };
            assert_eq!(bench.uplink(&segment.over4(&elsewhere)).fate, Fate::Kernel);
            let other_port = Tcp { destination: 22, ..segment };
            assert_eq!(bench.uplink(&other_port.over4(&from_client())).fate, Fate::Kernel);
        }
    }
    for protocol in [1, 17, 41, 47, 50, 132] {
        let body =
            [&CLIENT.port().to_be_bytes()[..], &LISTEN.port().to_be_bytes(), &[0; 30]].concat();
        assert_eq!(bench.uplink(&from_client().around(protocol, &body)).fate, Fate::Kernel);
    }
}
