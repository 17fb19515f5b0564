//! The daemon.

use std::{
    fs::File,
    io::IsTerminal,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use ingress::{
    capabilities,
    config::{Config, DEFAULT_PATH},
    daemon, dataplane,
};
use nix::sys::signal::{SigSet, Signal};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// EX_CONFIG of sysexits.h: systemd is told not to try again.
const CONFIGURATION: u8 = 78;

/// Carries IPv6 servers behind tunnels, and IPv4 clients to them by TLS server name, in the kernel.
#[derive(Parser)]
#[command(name = "ingressd", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Subcommand)]
enum Command {
    /// Runs until SIGTERM; established flows go on without it (the default).
    Run,
    /// Checks the configuration: exit 0 if it is right, 78 if not.
    Check,
    /// Takes the programs off the interfaces and ends every flow.
    Detach {
        /// Where they are pinned, if no configuration says so any more.
        #[arg(long, value_name = "DIRECTORY")]
        bpffs: Option<PathBuf>,
    },
    /// Writes the manual page.
    #[command(hide = true)]
    Man {
        /// Into this directory.
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let Arguments { config: path, command } = Arguments::parse();
    let done = match command.unwrap_or(Command::Run) {
        Command::Run => configured(&path, |config| run(path.clone(), config)),
        Command::Check => configured(&path, |_| {
            println!("{}: OK", path.display());
            Ok(())
        }),
        Command::Detach { bpffs: None } => configured(&path, |config| detach(&config.daemon.bpffs)),
        Command::Detach { bpffs: Some(bpffs) } => detach(&bpffs).map(|()| ExitCode::SUCCESS),
        Command::Man { directory } => man(&directory).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("ingressd: {error:#}");
        ExitCode::FAILURE
    })
}

/// Does what needs a configuration.
fn configured(path: &Path, then: impl FnOnce(Config) -> Result<()>) -> Result<ExitCode> {
    match Config::load(path) {
        Ok(config) => then(config).map(|()| ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("{error}");
            Ok(ExitCode::from(CONFIGURATION))
        }
    }
}

fn detach(bpffs: &Path) -> Result<()> {
    capabilities::require()?;
    let _claim = dataplane::Claim::take(bpffs)?;
    let links = dataplane::detach_all(bpffs)?;
    println!("{links} programs detached, nothing of ours is left in {}", bpffs.display());
    Ok(())
}

fn man(directory: &Path) -> Result<()> {
    let page = clap_mangen::Man::new(Arguments::command()).section("8");
    let mut file = File::create(directory.join("ingressd.8"))?;
    Ok(page.render(&mut file)?)
}

fn run(path: PathBuf, config: Config) -> Result<()> {
    log();
    // Whoever started us may have blocked them for itself. Threads inherit what is said here.
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]).thread_unblock()?;
    // The engine has a thread of its own besides.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        // What the start needs, this thread alone has, and gives up when that is over.
        .on_thread_start(capabilities::give_up)
        .enable_all()
        .build()?;
    let result = runtime.block_on(daemon::run(path, config));
    // Whoever still waits for a file system is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// To the journal with its fields, where stderr would end up there anyway; else to stderr, coloured on a terminal.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    if leads_to_the_journal(&std::io::stderr())
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal.with_field_prefix(Some("INGRESS".to_owned()))).init();
        return;
    }
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let terminal = std::io::stderr().is_terminal();
    let plain = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(terminal && !no_colour);
    registry.with(plain).init();
}

/// systemd.exec(5): `JOURNAL_STREAM` has device and inode of what a unit's stderr is connected to.
fn leads_to_the_journal(stderr: &impl AsFd) -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stat) = nix::sys::stat::fstat(stderr) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}
