//! The daemon.

use std::{io::IsTerminal, os::unix::net::UnixStream, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use ingress::{
    config::{Config, DEFAULT_PATH},
    daemon, dataplane,
};
use tracing_subscriber::EnvFilter;

/// EX_CONFIG of sysexits.h: systemd is told not to try again.
const CONFIGURATION: u8 = 78;

/// Carries IPv6 servers behind tunnels, and IPv4 clients to them by TLS server name, in the kernel.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Runs until SIGTERM; established flows go on without it (the default).
    Run,
    /// Checks the configuration: exit 0 if it is right, 78 if not.
    Check,
    /// Takes the programs off the interfaces and ends every flow.
    Detach,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(CONFIGURATION);
        }
    };
    let result = match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run(arguments.config, config),
        Command::Check => {
            println!("{}: right", arguments.config.display());
            Ok(())
        }
        Command::Detach => detach(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ingressd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn detach(config: &Config) -> Result<()> {
    let socket = &config.control.socket;
    if UnixStream::connect(socket).is_ok() {
        bail!("an ingressd answers on {}; stop it first, or it attaches again", socket.display());
    }
    let links = dataplane::detach_all(&config.daemon.bpffs)?;
    println!("{links} programs detached, {} is clean", config.daemon.bpffs.display());
    Ok(())
}

fn run(path: PathBuf, config: Config) -> Result<()> {
    log();
    // The engine is one task; the second thread keeps it from waiting for a scrape or a listing.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon::run(path, config))
}

/// To stderr: coloured on a terminal, without a time of its own where the journal notes one.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal && !no_colour);
    if std::env::var_os("JOURNAL_STREAM").is_some() && !terminal {
        log.without_time().init();
    } else {
        log.init();
    }
}
