//! ICMP as paths and hosts produce it: what is unreachable or out of hops is told to its sender, in the sender's own
//! numbers; what makes no sense is told to nobody. (`narrow` is about what is too big.)

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{RAW_CLIENT4, VPS4, WWW, WWW6};
use ingress_tests::capture::Capture;
use ingress_tests::client::ping6;
use ingress_tests::hello::Hello;
use ingress_tests::icmp::{Told, error4, errors4, errors6, fragments, with_header};
use ingress_tests::paths::Away;
use ingress_tests::plain::{self, PORT, Pair, Server};
use ingress_tests::rawclient::{RawConnection, RawLink, USUAL_OPTIONS};
use ingress_tests::segment::{Segment, flag, packet4};
use ingress_tests::shared::{Stage, stage};
use nix::sys::socket::{setsockopt, sockopt::Ipv6Ttl};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);

/// The VPS and the router at the client as the servers see them.
const VPS_NAT46: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0xc633, 0x6402);
const INET_NAT46: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0xc633, 0x6401);

/// What a traceroute does, towards the server.
#[test]
fn hops_run_out_on_the_way_to_the_server() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let (connection, sent) = greeted(&link)?;
    // The VPS and the router at home, which appears as the VPS.
    for hops in [2, 3] {
        let capture = Capture::start(&stage.lab.client, "eth0", "icmp", stage.lab.dir())?;
        let probe = data(&connection, sent, hops, b"how far is it");
        link.send(&packet4(connection.local, connection.remote, &probe))?;
        let error = one_told(capture)?;
        assert_eq!((error.kind, error.code), (11, 0), "{hops} hops");
        assert_eq!(error.from, VPS4);
        // Exactly what was sent, as it was when the hops ran out.
        let quoted = Segment { hops, ..error.quoted };
        assert_eq!(quoted, probe, "{hops} hops");
    }
    link.reset(&connection, sent)
}

/// And towards the client.
#[test]
fn hops_run_out_on_the_way_to_the_client() -> Result<()> {
    let stage = stage();
    let server = listed(&stage)?;
    let mut pair = Pair::connect(&stage.lab, &server)?;
    pair.exchange()?;
    for (hops, hop) in [(2, VPS_NAT46), (3, INET_NAT46)] {
        let capture = Capture::start(&stage.lab.www, "eth0", "tcp or icmp6", stage.lab.dir())?;
        setsockopt(&pair.server, Ipv6Ttl, &hops)?;
        pair.server.write_all(b"how far is it")?;
        thread::sleep(Duration::from_millis(300));
        setsockopt(&pair.server, Ipv6Ttl, &64)?;
        // It was no reason to give up.
        plain::expect(&mut pair.client, b"how far is it")?;
        let told = |packets: &[Vec<u8>]| !errors6(packets).is_empty();
        let packets = capture.stop_with("the server is told", told)?;
        let sent: Vec<Segment> =
            packets.iter().filter_map(|packet| Segment::read(packet)).collect();
        for error in errors6(&packets) {
            assert_eq!((error.kind, error.code), (3, 0), "{hops} hops");
            assert_eq!(error.from, hop, "{hops} hops");
            // Scaling a window loses some of it; nobody looks for it in an error.
            let quoted = Segment { hops: 0, window: 0, ..error.quoted };
            let same = |sent: &Segment| Segment { hops: 0, window: 0, ..sent.clone() } == quoted;
            assert!(sent.iter().any(same), "{quoted:?} is none of {sent:?}");
        }
        pair.exchange()?;
    }
    Ok(())
}

#[test]
fn a_server_that_vanishes_is_unreachable_and_may_come_back() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let (connection, sent) = greeted(&link)?;
    let capture = Capture::start(&stage.lab.client, "eth0", "icmp", stage.lab.dir())?;
    let away = Away::new(&stage.lab.home, WWW6)?;
    let probe = data(&connection, sent, 64, b"are you there");
    link.send(&packet4(connection.local, connection.remote, &probe))?;
    let error = one_told(capture)?;
    assert_eq!((error.kind, error.code, error.from), (3, 1, VPS4), "host unreachable");
    assert_eq!(Segment { hops: 64, ..error.quoted }, probe);
    drop(away);
    // The flow has not ended by it (RFC 5382 REQ-10); whoever sends garbage in TLS gets an answer.
    link.send(&packet4(connection.local, connection.remote, &probe))?;
    let answer = link.receive(connection.local, PATIENCE)?.context("no answer")?;
    assert_eq!(answer.flags & flag::ACK, flag::ACK);
    link.reset(&connection, sent)
}

#[test]
fn only_tcp_goes_to_ipv4() -> Result<()> {
    let stage = stage();
    let before = stage.daemon()?.drops("untranslatable")?;
    let ping = ping6(&stage.lab.www, &["-c3", "-i0.05", "-W1", "64:ff9b:1::c000:202"])?;
    assert!(ping.contains(" 0 received"), "{ping}");
    assert_eq!(stage.daemon()?.drops("untranslatable")? - before, 3);
    Ok(())
}

#[test]
fn fragments_to_a_listed_port_end_here() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let (connection, sent) = greeted(&link)?;
    // What the server may have sent twice.
    while link.receive(connection.local, Duration::from_millis(100))?.is_some() {}
    let before = stage.daemon()?.drops("ipv4_fragment")?;
    let whole = data(&connection, sent, 64, &[0; 1000]);
    for piece in fragments(&packet4(connection.local, connection.remote, &whole), 504) {
        link.send(&piece)?;
    }
    let answer = link.receive(connection.local, Duration::from_millis(500))?;
    assert_eq!(answer, None, "nothing of it reached the server");
    assert_eq!(stage.daemon()?.drops("ipv4_fragment")? - before, 1, "the first has the ports");
    link.reset(&connection, sent)
}

#[test]
fn a_hello_with_a_broken_checksum_is_not_believed() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let mut connection = link.connect(port(), SocketAddrV4::new(VPS4, 443), 77, USUAL_OPTIONS)?;
    let hello = Hello::for_name(WWW).bytes();
    let segment = data(&connection, 0, 64, &hello);
    let mut broken = packet4(connection.local, connection.remote, &segment);
    let last = broken.len() - 1;
    broken[last] ^= 1;
    link.send(&broken)?;
    let answer = link.receive(connection.local, Duration::from_millis(700))?;
    assert_eq!(answer, None);
    link.data(&connection, 0, &hello)?;
    link.first_answer(&mut connection, hello.len(), PATIENCE)?;
    link.reset(&connection, hello.len())
}

/// RFC 1122 §3.2.2, RFC 7915 §4.3: about errors, about what is no flow, and about too little.
#[test]
fn there_is_no_error_about_an_error() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let (connection, sent) = greeted(&link)?;
    let ours = Segment {
        source: connection.remote.into(),
        destination: connection.local.into(),
        seq: connection.next,
        ack: connection.isn.wrapping_add(1),
        ..data(&connection, sent, 60, b"")
    };
    let ours = packet4(connection.remote, connection.local, &ours);
    let error = |quoted: &[u8]| error4(RAW_CLIENT4, VPS4, [3, 1, 0, 0], quoted);
    let good = error(&ours);
    let mut other = ours.clone();
    other[22] ^= 0x55; // the client's port
    let mut damaged = good.clone();
    damaged[22] ^= 0x55; // ICMP's checksum
    for (what, packet, expected) in [
        ("about an error", error(&good), 0),
        ("about nothing", error(&other), 0),
        ("too short", error(&ours[..24]), 0),
        ("damaged", damaged, 0),
        ("an error that had no hop left", with_header(good.clone(), |header| header[8] = 2), 1),
        ("a good one", good, 1),
    ] {
        let to_client = "icmp and src host 198.51.100.2";
        let at_client = Capture::start(&stage.lab.client, "eth0", to_client, stage.lab.dir())?;
        let at_server = Capture::start(&stage.lab.www, "eth0", "icmp6", stage.lab.dir())?;
        link.send(&packet)?;
        thread::sleep(Duration::from_millis(250));
        let all = |packets: &[Vec<u8>]| errors6(packets).len() >= expected;
        assert_eq!(errors6(&at_server.stop_with(what, all)?).len(), expected, "{what}");
        assert_eq!(errors4(&at_client.stop()?).len(), 0, "{what}: the client was answered");
    }
    link.reset(&connection, sent)
}

#[test]
fn errors_are_rationed() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let (connection, sent) = greeted(&link)?;
    let limited = stage.daemon()?.drops("rate_limited")?;
    let capture = Capture::start(&stage.lab.client, "eth0", "icmp", stage.lab.dir())?;
    let probe = data(&connection, sent, 2, b"how far is it");
    let probe = packet4(connection.local, connection.remote, &probe);
    let begin = std::time::Instant::now();
    for _ in 0..3000 {
        link.send(&probe)?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    thread::sleep(Duration::from_millis(300));
    let errors = errors4(&capture.stop()?).len();
    let limited = stage.daemon()?.drops("rate_limited")? - limited;
    // 50 at once and 100 a second for this /24, and half as many again where two CPUs took the same token.
    let most = 50.0 + 100.0 * (seconds + 0.3);
    assert!(errors >= 50, "{errors} in {seconds} s");
    assert!((errors as f64) < 1.5 * most, "{errors} in {seconds} s");
    assert!(limited > 0, "{errors} in {seconds} s");
    link.reset(&connection, sent)
}

/// The only error that the client was told of.
fn one_told(capture: Capture) -> Result<Told<Ipv4Addr>> {
    thread::sleep(Duration::from_millis(500));
    let told = |packets: &[Vec<u8>]| !errors4(packets).is_empty();
    let mut errors = errors4(&capture.stop_with("the client is told", told)?);
    ensure!(errors.len() == 1, "{} errors", errors.len());
    errors.pop().context("just counted")
}

/// A raw client that has had the server's first answer, and how much it has sent.
fn greeted(link: &RawLink) -> Result<(RawConnection, usize)> {
    let mut connection = link.connect(port(), SocketAddrV4::new(VPS4, 443), 99, USUAL_OPTIONS)?;
    let hello = Hello::for_name(WWW).bytes();
    link.data(&connection, 0, &hello)?;
    link.first_answer(&mut connection, hello.len(), PATIENCE)?;
    link.send_flags(&connection, hello.len(), flag::ACK, &[])?;
    Ok((connection, hello.len()))
}

fn data(connection: &RawConnection, sent: usize, hops: u8, payload: &[u8]) -> Segment {
    Segment {
        source: connection.local.into(),
        destination: connection.remote.into(),
        hops,
        seq: connection.isn.wrapping_add(1).wrapping_add(sent as u32),
        ack: connection.next,
        flags: flag::ACK | flag::PSH,
        window: 64240,
        options: Vec::new(),
        payload: payload.to_vec(),
    }
}

/// A server of the test's own, the daemon told of its port.
fn listed(stage: &Stage) -> Result<Server> {
    plain::list(stage, &[])?;
    Server::start(&stage.lab.www, WWW6, PORT)
}

fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(45_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
