//! `lab`: the demonstration, and a network left standing to play in.

mod demo;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use ingress_tests::addresses::{DB, HOSTS_ONLY, VPS4, WWW, WWW6};
use ingress_tests::cleanup;
use ingress_tests::impair::{self, Impairment};
use ingress_tests::shared::Stage;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::fs;

#[derive(Parser)]
#[command(about = "Client, internet, VPS and home as network namespaces of this machine")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show everything at work, then clean up
    Demo,
    /// Leave a network standing until Ctrl-C or `lab down`
    Up {
        /// Without the daemon: for trying one of your own
        #[arg(long)]
        no_daemon: bool,
    },
    /// Take down every network that is up
    Down,
    /// Remove what crashed runs left behind
    Clean,
    /// Forward frames between two interfaces, not all of them and not in order
    #[command(hide = true)]
    Impair {
        /// One end
        a: String,
        /// The other
        b: String,
        #[command(flatten)]
        impairment: Impairment,
    },
    /// Wait for the end of standard input, then remove a lab
    #[command(hide = true)]
    Reap {
        /// Which
        id: String,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Demo => demo::run(),
        Command::Up { no_daemon } => up(!no_daemon),
        Command::Down => down(),
        Command::Clean => {
            let removed = cleanup::remove_stale();
            println!("removed {} leftover lab(s)", removed.len());
            Ok(())
        }
        Command::Impair { a, b, impairment } => impair::forward(&a, &b, &impairment),
        Command::Reap { id } => {
            cleanup::reap(&id);
            Ok(())
        }
    }
}

fn up(with_daemon: bool) -> Result<()> {
    // Before any thread or process is made, so that all inherit it.
    let mut ending = SigSet::empty();
    ending.add(Signal::SIGINT);
    ending.add(Signal::SIGTERM);
    ending.thread_block()?;

    let mut stage = if with_daemon { Stage::build()? } else { Stage::build_without_daemon()? };
    stage.postgres()?;
    fs::write(stage.lab.dir().join("up"), std::process::id().to_string())?;
    print_usage(&stage);
    ending.wait()?;
    println!("taking it down");
    Ok(())
}

fn print_usage(stage: &Stage) {
    let lab = &stage.lab;
    println!("\nA network is up.\n");
    for namespace in lab.namespaces() {
        println!("  nsenter --net={} bash", namespace.path().display());
    }
    let client = format!("nsenter --net={}", lab.client.path().display());
    let vps = format!("nsenter --net={}", lab.vps.path().display());
    let certificate = stage.certificate.certificate.display();
    println!(
        "\nIPv4 by name:\n  {client} curl --cacert {certificate} --resolve {WWW}:443:{VPS4} https://{WWW}/\n\
         IPv6:\n  {client} curl --cacert {certificate} --resolve {WWW}:443:[{WWW6}] https://{WWW}/\n\
         PostgreSQL:\n  {client} psql 'host={DB} hostaddr={VPS4} user=postgres sslmode=require'\n\
         Also known: {HOSTS_ONLY}, by [hosts]."
    );
    println!(
        "The daemon:\n  {vps} ingressctl --socket {} flows\n  configuration {}\n  log {}",
        ingress_tests::daemon::control_socket(lab).display(),
        lab.dir().join("ingress.toml").display(),
        lab.dir().join("ingressd.log").display()
    );
    println!("\nCtrl-C or `cargo xtask lab down` takes it down.");
}

fn down() -> Result<()> {
    let mut found = 0;
    for id in cleanup::all() {
        let owner = fs::read_to_string(cleanup::directory(&id).join("up"));
        if let Ok(Ok(pid)) = owner.map(|text| text.parse())
            && cleanup::is_alive(&id)
        {
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
            found += 1;
        }
    }
    if found == 0 {
        bail!("no network is up");
    }
    println!("took down {found}");
    Ok(())
}
