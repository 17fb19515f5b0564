//! How connections end, rest and begin again: the splice adds nothing to it and takes nothing away.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{RAW_CLIENT4, VPS4, WWW, WWW6};
use ingress_tests::capture::Capture;
use ingress_tests::daemon::{config, once};
use ingress_tests::hello::Hello;
use ingress_tests::plain::{self, PORT, POSTGRES_PORT, Pair, Server, drain, noise, pour};
use ingress_tests::process::wait_until;
use ingress_tests::rawclient::{RawConnection, RawLink, USUAL_OPTIONS};
use ingress_tests::segment::{Segment, flag, packet4};
use ingress_tests::shared::{Stage, stage};
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(2);
const MEGABYTES: usize = 8 << 20;
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

#[test]
fn each_side_may_close_first_and_hear_the_other_out() -> Result<()> {
    let (stage, server) = begin()?;
    for client_first in [true, false] {
        let Pair { client, server } = Pair::connect(&stage.lab, &server)?;
        let (mut first, mut second) =
            if client_first { (client, server) } else { (server, client) };
        first.write_all(b"that is all")?;
        first.shutdown(Shutdown::Write)?;
        assert_eq!(drain(&mut second)?, b"that is all");
        let much = noise(1, MEGABYTES);
        let pouring = pour(&second, much.clone())?;
        let came = drain(&mut first)?;
        assert!(came == much, "{} octets of {}", came.len(), much.len());
        pouring.join().expect("no panic")?;
    }
    Ok(())
}

#[test]
fn both_sides_speak_and_close_at_once() -> Result<()> {
    let (stage, server) = begin()?;
    for len in [MEGABYTES, 0] {
        let Pair { mut client, mut server } = Pair::connect(&stage.lab, &server)?;
        let (up, down) = (noise(2, len), noise(3, len));
        let pouring = [pour(&client, up.clone())?, pour(&server, down.clone())?];
        let port = client.local_addr()?.port();
        let reader = thread::spawn(move || drain(&mut client).map(|came| (came, client)));
        ensure!(drain(&mut server)? == up, "up");
        let (came, _client) = reader.join().expect("no panic")?;
        ensure!(came == down, "down");
        for pouring in pouring {
            pouring.join().expect("no panic")?;
        }
        assert_eq!(flow(&stage, port)?["state"], "closing");
    }
    Ok(())
}

#[test]
fn a_reset_arrives_with_the_number_that_is_expected() -> Result<()> {
    let (stage, server) = begin()?;
    for client_first in [true, false] {
        let mut pair = Pair::connect(&stage.lab, &server)?;
        pair.exchange()?;
        let dir = stage.lab.dir();
        // Other tests' connections may still be ending.
        let filter = format!("tcp port {}", pair.client.local_addr()?.port());
        let at_client = Capture::start(&stage.lab.client, "eth0", &filter, dir)?;
        let at_server = Capture::start(&stage.lab.www, "eth0", &filter, dir)?;
        pair.exchange()?;
        // The last of it is acknowledged late.
        thread::sleep(Duration::from_millis(400));
        let Pair { client, server } = pair;
        let (first, mut second) = if client_first { (client, server) } else { (server, client) };
        plain::reset(first)?;
        let start = Instant::now();
        let error = second.read(&mut [0; 1]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert!(start.elapsed() < SOON);
        let capture = if client_first { at_server } else { at_client };
        let is_reset = |packet: &Vec<u8>| {
            Segment::read(packet).is_some_and(|segment| segment.flags & flag::RST != 0)
        };
        let seen = capture.stop_with("a reset", |packets| packets.iter().any(is_reset))?;
        let seen: Vec<Segment> = seen.iter().filter_map(|packet| Segment::read(packet)).collect();
        let reset = seen.iter().find(|segment| segment.flags & flag::RST != 0);
        let reset = reset.context("the capture has no reset")?;
        let mut answers = seen.iter().filter(|segment| segment.source == reset.destination);
        let expected = answers.next_back().context("the receiver never spoke")?.ack;
        assert_eq!(reset.seq, expected, "not exact (RFC 5961): by the client: {client_first}");
    }
    Ok(())
}

/// Late packets of a connection that is gone, and an end that sends none.
#[test]
fn a_dead_flow_is_told_so_to_both_ends() -> Result<()> {
    let (stage, server) = begin()?;
    for client_speaks in [true, false] {
        let mut pair = Pair::connect(&stage.lab, &server)?;
        pair.exchange()?;
        let killed = stage.daemon()?.ctl(&["flows", "--host", WWW, "kill"])?;
        ensure!(killed.status.success(), "{killed:?}");
        let start = Instant::now();
        let speaker = if client_speaks { &mut pair.client } else { &mut pair.server };
        // It may know already.
        let _ = speaker.write_all(b"hello?");
        for end in [&mut pair.client, &mut pair.server] {
            let read = end.read(&mut [0; 1]);
            ensure!(!matches!(read, Ok(1)), "an octet from nobody");
        }
        assert!(start.elapsed() < SOON * 2, "{:?}", start.elapsed());
    }
    Ok(())
}

#[test]
fn resets_for_strangers_are_rationed_and_exact() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    // What is left of earlier floods is not for this one.
    thread::sleep(Duration::from_millis(300));
    let local = SocketAddrV4::new(RAW_CLIENT4, 46_000);
    let to = SocketAddrV4::new(VPS4, 443);
    let stray = Segment {
        source: local.into(),
        destination: to.into(),
        hops: 64,
        seq: 1000,
        ack: 0xfeed_f00d,
        flags: flag::ACK,
        window: 500,
        options: Vec::new(),
        payload: vec![1; 10],
    };
    let packet = packet4(local, to, &stray);
    let start = Instant::now();
    for _ in 0..3000 {
        link.send(&packet)?;
    }
    let mut resets = 0;
    while let Some(reset) = link.receive(local, Duration::from_millis(300))? {
        assert!(reset.is(flag::RST), "{reset:?}");
        assert_eq!(reset.seq, stray.ack, "as RFC 9293 has it");
        resets += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(resets >= 100, "{resets} in {seconds} s");
    assert!(f64::from(resets) < 1.5 * (200.0 + 1000.0 * seconds), "{resets} in {seconds} s");
    Ok(())
}

/// The same port, at once, with no regard for what was there before.
#[test]
fn a_port_is_used_again_after_every_kind_of_end() -> Result<()> {
    let (stage, server) = begin()?;
    let link = RawLink::open(&stage.lab)?;
    let mut old: Option<TcpStream> = None;
    for round in 0..16u32 {
        let isn = 0x4000_0000 + round * 0x0100_0000;
        let context = || format!("round {round}");
        let (mut connection, mut stream, sent) =
            raw_pair(&link, &server, isn).with_context(context)?;
        if let Some(mut old) = old.take() {
            // The new one has put an end to the old one.
            let error = old.read(&mut [0; 1]).expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        stream.write_all(b"welcome")?;
        let came = link.first_answer(&mut connection, sent, SOON).with_context(context)?;
        assert_eq!(came, b"welcome");
        match round % 4 {
            // Reset by the client; by the server; closed by the client, then the server; still alive.
            0 => link.reset(&connection, sent)?,
            1 => {
                plain::reset(stream)?;
                receive(&link, &connection, flag::RST | flag::ACK)?;
            }
            2 => {
                link.send_flags(&connection, sent, flag::ACK | flag::FIN, &[])?;
                assert_eq!(drain(&mut stream)?, b"");
                drop(stream);
                let fin = receive(&link, &connection, flag::ACK | flag::FIN)?;
                connection.next = fin.seq.wrapping_add(1);
                link.send_flags(&connection, sent + 1, flag::ACK, &[])?;
            }
            _ => old = Some(stream),
        }
    }
    Ok(())
}

/// The server closed first and waits in TIME-WAIT: a new SYN with a higher number is let in (RFC 6191, RFC 9293).
#[test]
fn a_port_is_used_again_while_the_server_lingers() -> Result<()> {
    let (stage, server) = begin()?;
    let link = RawLink::open(&stage.lab)?;
    for round in 0..4u32 {
        let isn = 0x8000_0000 + round * 0x0100_0000;
        let context = || format!("round {round}");
        let (mut connection, stream, sent) = raw_pair(&link, &server, isn).with_context(context)?;
        drop(stream);
        let fin = receive(&link, &connection, flag::ACK | flag::FIN).with_context(context)?;
        connection.next = fin.seq.wrapping_add(1);
        link.send_flags(&connection, sent, flag::ACK | flag::FIN, &[])?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn a_full_table_refuses_the_new_and_keeps_the_old() -> Result<()> {
    let mut stage = stage();
    let small = plain::config(&stage.lab, &[]) + "flows = 4\n";
    stage.disturbed = true;
    begin_with_table(&mut stage, &small)?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    let mut living: Vec<Pair> =
        (0..4).map(|_| Pair::connect(&stage.lab, &server)).collect::<Result<_>>()?;
    for _ in 0..3 {
        let start = Instant::now();
        let mut refused = plain::client(&stage.lab, PORT)?;
        refused.write_all(&Hello::for_name(WWW).bytes())?;
        let error = refused.read(&mut [0; 1]).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        // The server was reset, too, and nothing of the hello is there to be served.
        if let Ok(mut stream) = server.accept(Duration::from_millis(100)) {
            assert!(stream.read(&mut [0; 1]).is_err());
        }
    }
    // One that has been told something already.
    let postgres = Server::start(&stage.lab.www, WWW6, POSTGRES_PORT)?;
    let mut refused = plain::client(&stage.lab, POSTGRES_PORT)?;
    refused.write_all(SSL_REQUEST)?;
    plain::expect(&mut refused, b"S")?;
    refused.write_all(&Hello::for_name(WWW).bytes())?;
    let mut stream = postgres.accept(SOON)?;
    plain::expect(&mut stream, SSL_REQUEST)?;
    let start = Instant::now();
    stream.write_all(b"S")?;
    let error = refused.read(&mut [0; 1]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    for pair in &mut living {
        pair.exchange()?;
    }
    let usual = config(&stage.lab);
    begin_with_table(&mut stage, &usual)?;
    stage.disturbed = false;
    Ok(())
}

/// The stage, its daemon told of the port of a new server.
fn begin() -> Result<(std::sync::MutexGuard<'static, Stage>, Server)> {
    let stage = stage();
    plain::list(&stage, &[])?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    Ok((stage, server))
}

/// A client that says half of what it has to say, and scrapes meanwhile.
#[test]
fn handshakes_in_progress_are_counted() -> Result<()> {
    let stage = stage();
    let gauge = |protocol: &str| {
        stage.daemon()?.metric(&format!("flows{{protocol=\"{protocol}\",state=\"handshake\"}}"))
    };
    wait_until(SOON, "earlier ones are over", || gauge("tls").is_ok_and(|count| count == 0.0))?;
    let mut client = plain::client(&stage.lab, 443)?;
    client.write_all(&Hello::for_name(WWW).bytes()[..40])?;
    wait_until(SOON, "it is counted", || gauge("tls").is_ok_and(|count| count == 1.0))?;
    assert_eq!(gauge("postgres")?, 0.0);
    drop(client);
    wait_until(SOON, "it is over", || gauge("tls").is_ok_and(|count| count == 0.0))
}

/// A daemon whose maps are made anew.
fn begin_with_table(stage: &mut Stage, config: &str) -> Result<()> {
    stage.daemon_mut()?.stop()?;
    let detached = once(&stage.lab, config, &[], &["detach"])?;
    ensure!(detached.status.success(), "{detached:?}");
    stage.daemon()?.configure(config)?;
    stage.daemon_mut()?.resume()
}

/// A raw client's connection from one and the same port to a server of the test's, the hello over.
fn raw_pair(
    link: &RawLink,
    server: &Server,
    isn: u32,
) -> Result<(RawConnection, TcpStream, usize)> {
    let connection = link.connect(46_100, SocketAddrV4::new(VPS4, PORT), isn, USUAL_OPTIONS)?;
    let hello = Hello::for_name(WWW).bytes();
    link.data(&connection, 0, &hello)?;
    let mut stream = server.accept(Duration::from_secs(4))?;
    plain::expect(&mut stream, &hello)?;
    Ok((connection, stream, hello.len()))
}

fn receive(link: &RawLink, connection: &RawConnection, flags: u8) -> Result<Segment> {
    while let Some(segment) = link.receive(connection.local, SOON)? {
        if segment.is(flags) {
            return Ok(segment);
        }
    }
    anyhow::bail!("no segment with flags {flags:#x}")
}

fn flow(stage: &Stage, port: u16) -> Result<Value> {
    let mut found = None;
    wait_until(SOON, "the flow is listed", || {
        let port = format!(":{port}");
        found = stage.daemon().and_then(|daemon| daemon.flows()).ok().and_then(|flows| {
            flows
                .into_iter()
                .find(|flow| flow["client"].as_str().is_some_and(|client| client.ends_with(&port)))
        });
        found.is_some()
    })?;
    found.context("just seen")
}
