//! Floods of every kind: none reaches a backend, none makes the daemon grow, and ordinary clients go on
//! connecting. Measured numbers are printed; docs/reliability.md has some.

use anyhow::{Context, Result};
use ingress_tests::addresses::{NOBODY, VPS4, WWW};
use ingress_tests::capture::Capture;
use ingress_tests::client::{random_file, same_content};
use ingress_tests::flood::{self, Flood, SOURCES, SOURCES_NAT46, anywhere, neighbour};
use ingress_tests::hello::Hello;
use ingress_tests::process::wait_until;
use ingress_tests::segment::Segment;
use ingress_tests::shared::{Stage, stage};
use nix::sys::signal::Signal;
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

mod memory;
mod mint;

use mint::{ISN, Mint};

/// What the daemon may grow by under a flood: the handshakes' table and the allocator's slack.
const GROWTH: u64 = 24 << 20;

#[test]
fn a_flood_of_syns() -> Result<()> {
    let stage = stage();
    // From clients: home still reports what the flood before could not reach.
    let filter = format!("ip6 and src net {SOURCES_NAT46}");
    let to_site = Capture::start(&stage.lab.vps, stage.lab.tunnel(), &filter, stage.lab.dir())?;
    let before = Before::of(&stage)?;
    let sent = under(&stage, None, |nth| flood::syn(anywhere(nth)))?;
    let answered = stage.daemon()?.metric(r#"syn_cookies_total{result="sent"}"#)?;
    println!("SYNs: {} sent, {answered} answered", sent);
    assert!(sent.packets > 10_000, "{sent}: no flood");
    assert_eq!(to_site.stop()?.len(), 0, "of a flood nothing reaches a site");
    before.compare(&stage, 4 << 20)
}

#[test]
fn a_flood_of_bogus_acknowledgments() -> Result<()> {
    let stage = stage();
    let filter = format!("tcp[13] & 4 != 0 and src host {VPS4} and dst net {SOURCES}");
    let resets = Capture::start(&stage.lab.inet, "vps", &filter, stage.lab.dir())?;
    let before = Before::of(&stage)?;
    let begin = Instant::now();
    let sent = under(&stage, None, |nth| flood::data(anywhere(nth), ISN, nth as u32, b"x"))?;
    let resets = resets.stop()?.len() as f64;
    println!("bogus ACKs: {sent} sent, {resets} resets");
    let earned = 200.0 + 1000.0 * begin.elapsed().as_secs_f64();
    // Two CPUs may take the same token.
    assert!(resets > 0.0 && resets <= 1.5 * earned, "{resets} resets, {earned} earned");
    assert!(before.rise(&stage, r#"drops_total{reason="rate_limited"}"#)? > 1000.0);
    before.compare(&stage, 4 << 20)
}

#[test]
fn a_flood_of_garbage_behind_valid_cookies() -> Result<()> {
    let stage = stage();
    let mint = Mint::of(&stage)?;
    let before = Before::of(&stage)?;
    let sent = under(&stage, None, move |nth| {
        let client = neighbour(nth);
        flood::data(client, ISN, mint.cookie(client).wrapping_add(1), b"GET / HTTP/1.0\r\n\r\n")
    })?;
    let (refused, limited) = (
        before.rise(&stage, r#"handshakes_total{outcome="not_tls"}"#)?,
        before.rise(&stage, r#"drops_total{reason="rate_limited"}"#)?,
    );
    println!(
        "garbage: {sent} sent, {refused} refused, {limited} dropped by the neighbourhood's limit"
    );
    assert!(refused > 1000.0, "{refused}");
    assert!(limited > 0.0 || sent.per_second() < 4000.0, "{sent}, {limited} dropped");
    before.compare(&stage, GROWTH)
}

/// Every name another one, and nobody has it.
#[test]
fn a_flood_of_unknown_names() -> Result<()> {
    let stage = stage();
    let mint = Mint::of(&stage)?;
    let before = Before::of(&stage)?;
    let sent = under(&stage, Some(6000), move |nth| {
        let client = neighbour(nth);
        let hello = Hello::for_name(&format!("x{nth}.flood.example.test")).bytes();
        flood::data(client, ISN, mint.cookie(client).wrapping_add(1), &hello)
    })?;
    let (unknown, crowded, failed) = (
        before.rise(&stage, r#"handshakes_total{outcome="unknown_name"}"#)?,
        before.rise(&stage, r#"handshakes_total{outcome="crowded"}"#)?,
        before.rise(&stage, r#"handshakes_total{outcome="dns_failed"}"#)?,
    );
    println!(
        "unknown names: {sent} sent, {unknown} unknown, {failed} failed, {crowded} crowded out"
    );
    assert!(crowded > 0.0, "one neighbourhood held all that it wanted");
    before.compare(&stage, GROWTH)
}

/// From sixteen neighbourhoods, for a server that is silent: each takes five seconds.
#[test]
fn a_flood_of_hellos_for_one_name() -> Result<()> {
    let stage = stage();
    let mint = Mint::of(&stage)?;
    let hello = Hello::for_name(NOBODY).bytes();
    let before = Before::of(&stage)?;
    let most = thread::scope(|scope| -> Result<usize> {
        let watch = scope.spawn(|| -> Result<usize> {
            let mut most = 0;
            for _ in 0..8 {
                let flows = stage.daemon()?.flows()?;
                most = most.max(flows.iter().filter(|flow| flow["state"] == "handshake").count());
                thread::sleep(Duration::from_millis(300));
            }
            Ok(most)
        });
        let sent = under(&stage, Some(3000), move |nth| {
            // 16 neighbourhoods.
            let client = SocketAddrV4::new(
                [10, 2, (nth % 16) as u8, (nth / 16) as u8].into(),
                1024 + (nth / 4096 % 60_000) as u16,
            );
            flood::data(client, ISN, mint.cookie(client).wrapping_add(1), &hello)
        })?;
        let crowded = before.rise(&stage, r#"handshakes_total{outcome="crowded"}"#)?;
        println!("one name: {sent} sent, {crowded} crowded out");
        watch.join().expect("no panic")
    })?;
    println!("one name: at most {most} handshakes at a time");
    assert!(most > 100, "{most}: no flood");
    // Two thirds of 8192 for all of them; a little more while some of those that ended are still counted.
    assert!(most <= 8192 * 3 / 4, "{most}: no room for others");
    before.compare(&stage, 2 * GROWTH)
}

/// A frozen daemon under a flood: its ring overflows. That costs new connections and nothing else.
#[test]
fn a_ring_that_overflows() -> Result<()> {
    let stage = stage();
    let file = stage.web.root().join("flooded.bin");
    random_file(&file, 16)?;
    let download = stage.by_name(WWW, "/flooded.bin")?.args(&["--limit-rate", "3M"]).start();
    thread::sleep(Duration::from_millis(1000));
    let mint = Mint::of(&stage)?;
    let before = Before::of(&stage)?;
    stage.daemon()?.signal(Signal::SIGSTOP);
    let flood = Flood::start(&stage.lab, None, move |nth| {
        let client = anywhere(nth);
        flood::data(client, ISN, mint.cookie(client).wrapping_add(1), b"\x16\x03\x01\x20\0")
    })?;
    thread::sleep(Duration::from_millis(2500));
    let sent = flood.stop();
    stage.daemon()?.signal(Signal::SIGCONT);
    wait_until(Duration::from_secs(10), "the daemon answers", || {
        stage.daemon().is_ok_and(|daemon| daemon.ctl_json(&["status"]).is_ok())
    })?;
    let lost = before.rise(&stage, r#"drops_total{reason="upcall_overflow"}"#)?;
    println!("overflow: {sent} sent, {lost} lost");
    assert!(lost > 0.0, "the ring never was full");
    let answer = stage.by_name(WWW, "/?after-overflow")?.args(&["--max-time", "15"]).run()?;
    assert_eq!(answer.status(), 200, "{}", answer.error());
    let download = download.join().expect("no panic")?;
    assert_eq!(download.exit_code(), 0, "{}", download.error());
    assert!(same_content(&download.body, &file)?, "what came is not what was sent");
    Ok(())
}

/// Floods for some seconds, in which ordinary clients have to be served.
fn under(
    stage: &Stage,
    rate: Option<u32>,
    packet: impl FnMut(u64) -> Vec<u8> + Send + 'static,
) -> Result<Sent> {
    let (begin, flood) = (Instant::now(), Flood::start(&stage.lab, rate, packet)?);
    let mut slowest = Duration::ZERO;
    for nth in 0..8 {
        thread::sleep(Duration::from_millis(150));
        let answer =
            stage.by_name(WWW, &format!("/?flood{nth}"))?.args(&["--max-time", "30"]).run()?;
        assert_eq!(answer.status(), 200, "client {nth}: {}", answer.error());
        slowest = slowest.max(answer.time);
    }
    let time = begin.elapsed();
    Ok(Sent { packets: flood.stop(), time, slowest })
}

/// What a flood came to.
struct Sent {
    packets: u64,
    time: Duration,
    slowest: Duration,
}

impl Sent {
    fn per_second(&self) -> f64 {
        self.packets as f64 / self.time.as_secs_f64()
    }
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (packets, each, slowest) = (self.packets, self.per_second(), self.slowest);
        write!(f, "{packets} ({each:.0} a second; the slowest of 8 clients took {slowest:?})")
    }
}

/// How things stood before a flood.
struct Before {
    memory: u64,
    metrics: String,
}

impl Before {
    fn of(stage: &Stage) -> Result<Self> {
        // What is allocated once is allocated by then.
        stage.by_name(WWW, "/?before")?.run()?;
        let daemon = stage.daemon()?;
        Ok(Self { memory: daemon.memory()?, metrics: daemon.metrics()? })
    }

    fn rise(&self, stage: &Stage, name: &str) -> Result<f64> {
        let before = ingress_tests::daemon::metric(&self.metrics, name)?;
        Ok(stage.daemon()?.metric(name)? - before)
    }

    fn compare(&self, stage: &Stage, growth: u64) -> Result<()> {
        let now = stage.daemon()?.memory()?;
        println!("memory: {} KiB, then {} KiB", self.memory >> 10, now >> 10);
        assert!(now < self.memory + growth, "{} octets became {now}", self.memory);
        // What is still under way ends by itself.
        wait_until(Duration::from_secs(20), "the handshakes end", || {
            stage
                .daemon()
                .and_then(|daemon| daemon.flows())
                .is_ok_and(|flows| flows.iter().all(|flow| flow["state"] != "handshake"))
        })?;
        let flows = stage.daemon()?.flows()?.len();
        assert!(flows < 200, "{flows} flows");
        Ok(())
    }
}

/// A proof that the floods' cookies are the true ones.
#[test]
fn minted_cookies_are_answered() -> Result<()> {
    let stage = stage();
    let mint = Mint::of(&stage)?;
    let client = neighbour(5);
    let answers = Capture::start(
        &stage.lab.inet,
        "vps",
        &format!("tcp and dst host {}", client.ip()),
        stage.lab.dir(),
    )?;
    let hello = Hello::for_name("unknown.example.test").bytes();
    let flood = Flood::start(&stage.lab, Some(20), move |_| {
        flood::data(client, ISN, mint.cookie(client).wrapping_add(1), &hello)
    })?;
    let said =
        |packet: &Vec<u8>| Segment::read(packet).is_some_and(|answer| !answer.payload.is_empty());
    let answers = answers.stop_with("an alert", |packets| packets.iter().any(said));
    flood.stop();
    let answers: Vec<Segment> =
        answers?.iter().filter_map(|packet| Segment::read(packet)).collect();
    let alert = answers.iter().find(|answer| !answer.payload.is_empty()).context("no alert")?;
    assert_eq!(alert.payload.first(), Some(&21), "{answers:?}");
    Ok(())
}
