//! What is measured, in rounds: in each round every contender once, so that what else the machine does meets
//! all of them.

use crate::contender::{Contender, Running, Way};
use crate::load::{WORLD4, WORLD6};
use crate::machine;
use crate::report::{Report, Row};
use anyhow::{Context, Result, bail};
use ingress_tests::Lab;
use ingress_tests::addresses::{CLIENT4, CLIENT6};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How much of everything.
pub struct Extent {
    pub rounds: usize,
    /// Octets of a transfer through a veth, and through WireGuard.
    pub bulk: [u64; 2],
    /// Connections for the rate, and for the latency.
    pub connections: [u64; 2],
    /// Idle connections: for all contenders, and for us alone.
    pub idle: [u64; 2],
    /// How long each flood lasts.
    pub flood: Duration,
    /// Flows in a small table and in a large one.
    pub flows: [u32; 2],
}

impl Extent {
    pub const FULL: Self = Self {
        // Fewer than six have no confidence interval.
        rounds: 7,
        bulk: [1_000_000_000, 100_000_000],
        connections: [6000, 1500],
        idle: [8_000, 100_000],
        flood: Duration::from_secs(2),
        flows: [1_000, 1_000_000],
    };
    pub const QUICK: Self = Self {
        rounds: 2,
        bulk: [400_000_000, 30_000_000],
        connections: [1000, 300],
        idle: [800, 8_000],
        flood: Duration::from_millis(500),
        flows: [1_000, 100_000],
    };
}

/// Connections at a time where the rate is measured.
const PARALLEL: u64 = 64;
/// Source addresses of the idle connections, each of a process of its own.
const SOURCES: u8 = 8;

/// One transfer each, down and up.
pub fn bulk(lab: &Lab, way: Way, extent: &Extent, report: &mut Report) -> Result<()> {
    let [veth, wireguard] = extent.bulk;
    let bytes = match way {
        Way::Veth => veth,
        Way::WireGuard => wireguard,
    };
    for (direction, up) in [("download", false), ("upload", true)] {
        let measure = format!("bulk {direction}, {}", way.title());
        rounds(lab, &Contender::all(), extent, |contender, _| {
            let mut args = vec!["--bytes".to_owned(), bytes.to_string()];
            args.extend(up.then(|| "--up".to_owned()));
            let before = machine::busy()?;
            let seen = load(lab, "bulk", contender, way, &args)?;
            let spent = machine::busy()? - before;
            let gigabytes = bytes as f64 / 1e9;
            let seconds = number(&seen, "seconds")?;
            report.add(Row::new(
                &measure,
                "Mbit/s",
                contender.title(),
                gigabytes * 8000.0 / seconds,
            ));
            report.add(Row::new(&measure, "CPU s/GB", contender.title(), spent / gigabytes));
            Ok(())
        })?;
    }
    Ok(())
}

/// Gives the client the addresses that its connections come from.
pub fn settle(lab: &Lab) -> Result<()> {
    // All of them at once, without a list.
    let ((v4, len4), (v6, len6)) = (WORLD4, WORLD6);
    lab.client.ip(&format!(
        "route replace local {v4}/{len4} dev lo\nroute replace local {v6}/{len6} dev lo\n"
    ))?;
    // IPv6 asks for each by itself, unless told not to.
    lab.client.sysctl("ipv6/ip_nonlocal_bind", "1")?;
    lab.inet.ip(&format!(
        "route replace {v4}/{len4} via {CLIENT4}\nroute replace {v6}/{len6} via {CLIENT6}\n"
    ))
}

/// Connections, many at a time and one at a time.
pub fn connections(lab: &Lab, extent: &Extent, report: &mut Report) -> Result<()> {
    let [many, few] = extent.connections;
    for (measure, count, parallel) in
        [("connections, 64 at a time", many, PARALLEL), ("connections, one at a time", few, 1)]
    {
        rounds(lab, &Contender::by_name(), extent, |contender, _| {
            let args = ["--count", &count.to_string(), "--parallel", &parallel.to_string()];
            let before = machine::busy()?;
            let seen = load(lab, "connections", contender, Way::Veth, &args.map(str::to_owned))?;
            let spent = machine::busy()? - before;
            let done = number(&seen, "done")?;
            if parallel == 1 {
                report.add(Row::new(
                    measure,
                    "p50 ms",
                    contender.title(),
                    number(&seen, "p50")? * 1e3,
                ));
                report.add(Row::new(
                    measure,
                    "p99 ms",
                    contender.title(),
                    number(&seen, "p99")? * 1e3,
                ));
            } else {
                let rate = done / number(&seen, "seconds")?;
                report.add(Row::new(measure, "per second", contender.title(), rate));
                report.add(Row::new(measure, "CPU ms each", contender.title(), spent * 1e3 / done));
            }
            report.add(Row::new(measure, "failed", contender.title(), number(&seen, "failed")?));
            Ok(())
        })?;
    }
    Ok(())
}

/// Memory of connections that only stay: of the contender's processes, and of the whole machine. The ends'
/// own sockets are in the latter; the kernel's row shows what they take. Proxies need two open files for
/// each, so they are compared with few; with many, it is us alone.
pub fn idle(lab: &Lab, extent: &Extent, report: &mut Report) -> Result<()> {
    let mut sources = Vec::new();
    for nth in 1..=SOURCES {
        let v4 = Ipv4Addr::new(192, 0, 2, 100 + nth);
        let v6 = Ipv6Addr::from(u128::from(CLIENT6) + u128::from(nth));
        let addresses =
            format!("addr replace {v4}/24 dev eth0\naddr replace {v6}/64 dev eth0 nodad\n");
        lab.client.ip(&addresses)?;
        sources.push((IpAddr::from(v4), IpAddr::from(v6)));
    }
    let [few, many] = extent.idle;
    let once = Extent { rounds: 1, ..*extent };
    for (count, contenders) in
        [(few, Contender::by_name()), (many, vec![Contender::Kernel, Contender::Ingress])]
    {
        let measure = format!("{count} idle connections");
        rounds(lab, &contenders, &once, |contender, running| {
            let (available, resident) = (machine::available()?, running.resident()?);
            let mut stays = Vec::new();
            let (mut kept, mut failed) = (0.0, 0.0);
            for (v4, v6) in &sources {
                let from = if contender == Contender::Kernel { v6 } else { v4 };
                let mut command = loader(lab, "idle", contender, Way::Veth)?;
                let share = (count / u64::from(SOURCES)).to_string();
                command.args(["--count", &share, "--from", &from.to_string()]);
                let mut stay = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                let mut line = String::new();
                BufReader::new(stay.stdout.take().context("its output")?).read_line(&mut line)?;
                stays.push(stay);
                let seen: Value = serde_json::from_str(&line)
                    .with_context(|| format!("load printed {line:?}"))?;
                kept += number(&seen, "kept")?;
                failed += number(&seen, "failed")?;
            }
            // What is freed late, and what is allocated late.
            std::thread::sleep(Duration::from_secs(2));
            let machine = available.saturating_sub(machine::available()?) as f64 / kept;
            let own = running.resident()?.saturating_sub(resident) as f64 / kept;
            report.add(Row::new(&measure, "octets each, processes", contender.title(), own));
            report.add(Row::new(
                &measure,
                "octets each, whole machine",
                contender.title(),
                machine,
            ));
            report.add(Row::new(&measure, "failed", contender.title(), failed));
            for mut stay in stays {
                drop(stay.stdin.take());
                stay.wait()?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// What a daemon without new connections costs.
pub fn rest(lab: &Lab, extent: &Extent, report: &mut Report) -> Result<()> {
    const SETTLED: Duration = Duration::from_secs(12);
    const WATCHED: Duration = Duration::from_secs(10);
    let once = Extent { rounds: 1, ..*extent };
    rounds(lab, &[Contender::Ingress], &once, |contender, running| {
        let pid = running.pid().context("it has a process")?;
        // Threads that were needed at the start go after ten seconds.
        std::thread::sleep(SETTLED);
        let (seconds, switches) = machine::work(pid)?;
        std::thread::sleep(WATCHED);
        let (later, more) = machine::work(pid)?;
        let share = (later - seconds) / WATCHED.as_secs_f64();
        report.add(Row::new("at rest", "CPU %", contender.title(), share * 100.0));
        let wakes = more.saturating_sub(switches) as f64 / WATCHED.as_secs_f64();
        report.add(Row::new("at rest", "wake-ups/s", contender.title(), wakes));
        Ok(())
    })
}

/// In each round every contender once, each at work while it is measured.
pub fn rounds(
    lab: &Lab,
    contenders: &[Contender],
    extent: &Extent,
    mut measure: impl FnMut(Contender, &Running) -> Result<()>,
) -> Result<()> {
    for round in 0..extent.rounds {
        for contender in contenders {
            let running = contender.start(lab)?;
            warm(lab, *contender)?;
            let measured = measure(*contender, &running)
                .with_context(|| format!("{}, round {}", contender.title(), round + 1));
            running.stop(lab)?;
            measured?;
        }
    }
    Ok(())
}

/// The way is known to everyone before it counts: neighbours, paths, caches.
pub fn warm(lab: &Lab, contender: Contender) -> Result<()> {
    let few = ["--count", "20", "--parallel", "4"].map(str::to_owned);
    for way in [Way::Veth, Way::WireGuard] {
        let seen = load(lab, "connections", contender, way, &few)?;
        if number(&seen, "done")? == 0.0 {
            bail!("{} lets nobody through by {}", contender.title(), way.title());
        }
    }
    Ok(())
}

fn loader(lab: &Lab, kind: &str, contender: Contender, way: Way) -> Result<Command> {
    let (to, name) = contender.target(way);
    let mut command = lab.client.command(std::env::current_exe()?)?;
    command.args(["load", kind, "--to", &to.to_string(), "--name", name]);
    Ok(command)
}

fn load(lab: &Lab, kind: &str, contender: Contender, way: Way, args: &[String]) -> Result<Value> {
    let output = loader(lab, kind, contender, way)?.args(args).output()?;
    if !output.status.success() {
        bail!("load {kind}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("load printed {text:?}"))
}

fn number(seen: &Value, key: &str) -> Result<f64> {
    seen[key].as_f64().with_context(|| format!("no {key} in {seen}"))
}
