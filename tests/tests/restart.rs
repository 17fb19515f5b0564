//! What the daemon has acknowledged is not lost with it: the next one delivers it.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{WWW, WWW6};
use ingress_tests::daemon::config;
use ingress_tests::hello::Hello;
use ingress_tests::netns::Namespace;
use ingress_tests::paths::{Narrow, TO_SERVERS};
use ingress_tests::plain::{self, PORT, POSTGRES_PORT, Pair, Server, drain, expect, noise, pour};
use ingress_tests::shared::{Stage, stage};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// An address that nobody answers for, until it is tried no more.
const SILENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 1, 0, 0, 0xb);
const SILENT_FIRST: &str = "silent-first.example.test";
/// Longer than the daemon waits before it acknowledges a part.
const MOMENT: Duration = Duration::from_millis(150);
/// So large that it takes whole segments.
const LARGE: usize = 9_000;

#[test]
fn half_a_hello() -> Result<()> {
    let (mut stage, server) = begin(PORT)?;
    for cut in [1, 60, 150] {
        let mut client = plain::client(&stage.lab, PORT)?;
        let hello = Hello::for_name(WWW).bytes();
        client.write_all(&hello[..cut])?;
        thread::sleep(MOMENT);
        restart(&mut stage)?;
        client.write_all(&hello[cut..])?;
        let mut stream = server.accept(Duration::from_secs(4))?;
        expect(&mut stream, &hello).with_context(|| format!("cut after {cut}"))?;
        works(Pair { client, server: stream })?;
    }
    Ok(())
}

/// It has been acknowledged and will not be repeated, so without a word the client would wait for ever.
#[test]
fn half_a_hello_to_a_port_that_is_listed_no_more() -> Result<()> {
    let (mut stage, _server) = begin(PORT)?;
    let mut client = plain::client(&stage.lab, PORT)?;
    client.write_all(&Hello::for_name(WWW).bytes()[..60])?;
    thread::sleep(MOMENT);
    stage.daemon_mut()?.kill();
    let without = config(&stage.lab);
    stage.daemon()?.configure(&without)?;
    stage.daemon_mut()?.resume()?;
    let error = client.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    Ok(())
}

#[test]
fn a_whole_hello_whose_server_is_yet_to_answer() -> Result<()> {
    let (mut stage, server) = begin(PORT)?;
    let mut client = plain::client(&stage.lab, PORT)?;
    let hello = halves(&mut client, &Hello::for_name(SILENT_FIRST))?;
    thread::sleep(MOMENT);
    restart(&mut stage)?;
    let mut stream = server.accept(Duration::from_secs(4))?;
    expect(&mut stream, &hello)?;
    works(Pair { client, server: stream })
}

#[test]
fn a_postgresql_client_that_was_answered() -> Result<()> {
    const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    let (mut stage, server) = begin(POSTGRES_PORT)?;
    for cut in [0, 60] {
        let mut client = plain::client(&stage.lab, POSTGRES_PORT)?;
        client.write_all(SSL_REQUEST)?;
        expect(&mut client, b"S")?;
        let hello = Hello::for_name(WWW).bytes();
        client.write_all(&hello[..cut])?;
        thread::sleep(MOMENT);
        restart(&mut stage)?;
        client.write_all(&hello[cut..])?;
        let mut stream = server.accept(Duration::from_secs(4))?;
        expect(&mut stream, SSL_REQUEST)?;
        stream.write_all(b"S")?;
        expect(&mut stream, &hello).with_context(|| format!("cut after {cut}"))?;
        works(Pair { client, server: stream })?;
    }
    Ok(())
}

/// The flow stands, and the daemon dies before the server has what is owed.
#[test]
fn what_did_not_get_through() -> Result<()> {
    let (mut stage, server) = begin(PORT)?;
    let mut client = plain::client(&stage.lab, PORT)?;
    let hole = BlackHole::dig(stage.lab.home.clone())?;
    let hello = halves(&mut client, &Hello::for_name(WWW).of_size(LARGE))?;
    let mut stream = server.accept(Duration::from_secs(4))?;
    thread::sleep(MOMENT);
    stage.daemon_mut()?.kill();
    hole.fill()?;
    stage.daemon_mut()?.resume()?;
    expect(&mut stream, &hello)?;
    works(Pair { client, server: stream })
}

/// The same, twice, with a server that speaks before it has been told everything.
#[test]
fn a_server_that_does_not_wait() -> Result<()> {
    let (mut stage, server) = begin(PORT)?;
    let mut client = plain::client(&stage.lab, PORT)?;
    let hole = BlackHole::dig(stage.lab.home.clone())?;
    let hello = halves(&mut client, &Hello::for_name(WWW).of_size(LARGE))?;
    let mut stream = server.accept(Duration::from_secs(4))?;
    let banner = noise(7, 500);
    stream.write_all(&banner)?;
    expect(&mut client, &banner)?;
    restart(&mut stage)?;
    thread::sleep(MOMENT);
    stage.daemon_mut()?.kill();
    hole.fill()?;
    stage.daemon_mut()?.resume()?;
    expect(&mut stream, &hello)?;
    works(Pair { client, server: stream })
}

/// Where home is narrower than the tunnel, what is owed is cut to fit.
#[test]
fn what_is_owed_fits_through_a_narrow_home() -> Result<()> {
    let (stage, server) = begin(PORT)?;
    let _narrow = Narrow::path(&stage.lab.home, TO_SERVERS, 1300, &[&stage.lab.client])?;
    let mut client = plain::client(&stage.lab, PORT)?;
    let hello = halves(&mut client, &Hello::for_name(WWW).of_size(LARGE))?;
    let start = Instant::now();
    let mut stream = server.accept(Duration::from_secs(4))?;
    expect(&mut stream, &hello)?;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    works(Pair { client, server: stream })
}

/// Says a hello in two pieces, so that the first is acknowledged before the second is there.
fn halves(client: &mut TcpStream, hello: &Hello) -> Result<Vec<u8>> {
    let hello = hello.bytes();
    let (first, second) = hello.split_at(hello.len() - 20);
    client.write_all(first)?;
    thread::sleep(MOMENT);
    client.write_all(second)?;
    Ok(hello)
}

/// Much both ways, then the end.
fn works(pair: Pair) -> Result<()> {
    let Pair { mut client, mut server } = pair;
    let (up, down) = (noise(1, 1 << 20), noise(2, 1 << 20));
    let pouring = [pour(&client, up.clone())?, pour(&server, down.clone())?];
    let reader = thread::spawn(move || drain(&mut client));
    ensure!(drain(&mut server)? == up, "up");
    ensure!(reader.join().expect("no panic")? == down, "down");
    for pouring in pouring {
        pouring.join().expect("no panic")?;
    }
    Ok(())
}

fn restart(stage: &mut Stage) -> Result<()> {
    stage.daemon_mut()?.kill();
    thread::sleep(Duration::from_millis(200));
    stage.daemon_mut()?.resume()
}

fn begin(port: u16) -> Result<(std::sync::MutexGuard<'static, Stage>, Server)> {
    let stage = stage();
    plain::list(&stage, &[(SILENT_FIRST, &[SILENT, WWW6])])?;
    let server = Server::start(&stage.lab.www, WWW6, port)?;
    Ok((stage, server))
}

/// A switch at home that loses large frames and says nothing.
struct BlackHole(Namespace);

impl BlackHole {
    fn dig(home: Namespace) -> Result<Self> {
        // A bridge whose MTU was never changed would follow its narrowest port, and say what is too big.
        home.ip("link set lan mtu 1499\nlink set lan mtu 1500\nlink set www mtu 1290\n")?;
        Ok(Self(home))
    }

    fn fill(&self) -> Result<()> {
        self.0.ip("link set www mtu 1500\n")
    }
}

impl Drop for BlackHole {
    fn drop(&mut self) {
        let _ = self.fill();
    }
}
