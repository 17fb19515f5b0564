//! Connections that rest: for minutes, with a window of zero, with nothing but keepalives.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{WWW, WWW6};
use ingress_tests::plain::{self, PORT, Pair, Server, drain, noise, pour};
use ingress_tests::shared::{Stage, stage};
use nix::sys::socket::{setsockopt, sockopt};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const MEGABYTES: usize = 8 << 20;

/// What takes time, all at once: two minutes of silence, keepalives, a reader that does not read.
#[test]
fn silence_and_slowness_end_nothing() -> Result<()> {
    const LONG: Duration = Duration::from_secs(132);
    let stage = stage();
    plain::list(&stage, &[])?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    // Nothing is kept of a client that has only connected.
    let early = plain::client(&stage.lab, PORT)?;
    let mut idle = Pair::connect(&stage.lab, &server)?;
    idle.exchange()?;
    let start = Instant::now();
    let mut kept = Pair::connect(&stage.lab, &server)?;
    keep_alive(&kept.client)?;
    keep_alive(&kept.server)?;
    let port = kept.client.local_addr()?.port();
    let before = packets_in(&stage, port)?;
    for client_reads in [true, false] {
        let Pair { client, server } = Pair::connect(&stage.lab, &server)?;
        let (mut reader, writer) = if client_reads { (client, server) } else { (server, client) };
        let much = noise(4, MEGABYTES);
        let pouring = pour(&writer, much.clone())?;
        // The window closes, and probes keep asking.
        thread::sleep(Duration::from_secs(6));
        assert!(!pouring.is_finished(), "the window never closed");
        let reading = Instant::now();
        ensure!(drain(&mut reader)? == much, "the reader is the client: {client_reads}");
        assert!(reading.elapsed() < Duration::from_secs(15), "{:?}", reading.elapsed());
        pouring.join().expect("no panic")?;
    }
    assert!(packets_in(&stage, port)? >= before + 6, "keepalives did not pass");
    kept.exchange().context("kept alive")?;

    thread::sleep(LONG.saturating_sub(start.elapsed()));
    idle.exchange().context("after two minutes of silence")?;
    let mut late = Pair::greet(early, &server, WWW).context("two minutes before the hello")?;
    late.exchange()
}

fn keep_alive(stream: &TcpStream) -> Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &1)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &1)?;
    setsockopt(stream, sockopt::TcpKeepCount, &2)?;
    Ok(())
}

fn packets_in(stage: &Stage, port: u16) -> Result<u64> {
    let port = format!(":{port}");
    let flows = stage.daemon()?.flows()?;
    let ours = |client: &str| client.ends_with(&port);
    let flow = flows.iter().find(|flow| flow["client"].as_str().is_some_and(ours));
    flow.and_then(|flow| flow["packets_in"].as_u64()).context("the flow is not listed")
}
