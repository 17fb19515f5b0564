//! The daemon.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use ingress::{
    capabilities,
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
    capabilities::require()?;
    let _claim = dataplane::Claim::take(&config.daemon.bpffs)?;
    let links = dataplane::detach_all(&config.daemon.bpffs)?;
    println!("{links} programs detached, {} is clean", config.daemon.bpffs.display());
    Ok(())
}

fn run(path: PathBuf, config: Config) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // The engine is one task; the second thread keeps it from waiting for a scrape or a listing.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon::run(path, config))
}
