//! `bench`: this project and its rivals in one network, in pairs.

mod contender;
mod crowd;
mod firewall;
mod load;
mod machine;
mod measures;
mod origin;
mod plot;
mod programs;
mod report;
mod small;
mod syns;
mod verdict;
mod wire;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use contender::Way;
use ingress_tests::Lab;
use ingress_tests::process::{Process, wait_until};
use ingress_tests::servers::Certificate;
use ingress_tests::sites::Sites;
use measures::Extent;
use report::Report;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Servers that share the port, since one process may not have all the connections open.
const ORIGINS: usize = 8;

#[derive(Parser)]
#[command(about = "Measures ingress and its rivals, in pairs, in a throw-away network")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and write report.md, report.txt, report.json and report.svg
    Run {
        /// A minute instead of many: to see that it works, not for numbers
        #[arg(long)]
        quick: bool,
        /// What to measure; all by default
        #[arg(long, value_delimiter = ',')]
        only: Vec<Measure>,
        /// How often everything is measured, by default 7 times, with --quick 2; fewer than 6 tell nothing for
        /// certain, and what spreads widely wants more
        #[arg(long)]
        rounds: Option<NonZeroU16>,
        /// Where the report goes
        #[arg(long, default_value = "target/bench")]
        out: PathBuf,
    },
    /// The server
    #[command(hide = true)]
    Origin,
    /// A client
    #[command(hide = true)]
    Load {
        #[command(subcommand)]
        load: load::Load,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Transfers through an unencrypted tunnel
    Bulk,
    /// Transfers through WireGuard
    Wireguard,
    /// Small packets over IPv6
    Small,
    /// The same with a firewall that remembers connections
    Firewall,
    /// New connections: rate and latency
    Connections,
    /// Memory of connections that only stay
    Idle,
    /// A large flow table against a small one
    Flows,
    /// The same for whole packets
    Crowd,
    /// Each program and verdict by itself
    Programs,
    /// SYNs that nobody means
    Syns,
    /// The daemon without new connections
    Rest,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Run { quick, only, rounds, out } => {
            let extent = if quick { Extent::QUICK } else { Extent::FULL };
            let rounds = rounds.map_or(extent.rounds, |rounds| rounds.get().into());
            run(quick, &Extent { rounds, ..extent }, &only, &out)
        }
        Command::Origin => origin::serve(),
        Command::Load { load } => load::run(&load),
    }
}

fn run(quick: bool, extent: &Extent, only: &[Measure], out: &Path) -> Result<()> {
    let measures = if only.is_empty() { Measure::value_variants() } else { only };
    // What a daemon in debugging mode writes would be measured, too.
    // SAFETY: nothing else runs in this process yet.
    unsafe { std::env::set_var("INGRESS_LOG", "info") };
    raise_limits()?;
    let lab = Lab::new()?;
    let certificate = Certificate::generate(lab.dir())?;
    let sites = Sites::add(&lab, &certificate)?;
    let mut origins = Vec::new();
    for machine in [&lab.www, &sites.office] {
        for _ in 0..ORIGINS {
            let mut command = machine.command(std::env::current_exe()?)?;
            let log = lab.dir().join("origin.log");
            origins.push(Process::spawn(command.arg("origin"), &log)?);
        }
        let address = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, origin::PORT));
        wait_until(Duration::from_secs(5), "the origin listens", || {
            machine.enter(|| TcpStream::connect(address).is_ok()).is_ok_and(|open| open)
        })?;
    }
    for namespace in [&lab.client, &lab.www, &sites.office, &lab.vps] {
        namespace.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
    }

    measures::settle(&lab)?;

    let place = machine::describe()?;
    let mut report = Report::default();
    for measure in measures {
        match measure {
            Measure::Bulk => measures::bulk(&lab, Way::Veth, extent, &mut report)?,
            Measure::Wireguard => measures::bulk(&lab, Way::WireGuard, extent, &mut report)?,
            Measure::Small => small::small(&lab, &sites, extent, &mut report)?,
            Measure::Firewall => firewall::firewall(&lab, &sites, extent, &mut report)?,
            Measure::Connections => measures::connections(&lab, extent, &mut report)?,
            Measure::Idle => measures::idle(&lab, extent, &mut report)?,
            Measure::Flows => programs::flows(extent, &mut report)?,
            Measure::Crowd => crowd::crowd(&lab, &sites, extent, &mut report)?,
            Measure::Programs => programs::programs(extent, &mut report)?,
            Measure::Syns => syns::syns(&lab, extent, &mut report)?,
            Measure::Rest => measures::rest(&lab, extent, &mut report)?,
        }
        // After each, so that one that fails takes no other with it.
        write(&report, &place, quick, out)?;
    }
    let text = report.text();
    println!("{text}\nreport.md, .txt, .json and .svg are in {}", out.display());
    Ok(())
}

fn write(report: &Report, place: &str, quick: bool, out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("create {}", out.display()))?;
    fs::write(out.join("report.txt"), report.text())?;
    fs::write(out.join("report.md"), report.markdown(place, quick))?;
    fs::write(out.join("report.json"), serde_json::to_string_pretty(&report.json())?)?;
    fs::write(out.join("report.svg"), plot::svg(report))?;
    Ok(())
}

/// As many open files as a process may have here, for us and whom we start.
fn raise_limits() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raise the limit of open files")
}
