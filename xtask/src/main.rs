//! `cargo xtask`: one file per subcommand.

mod bench;
mod build;
mod deb;
mod debian;
mod demo;
mod deny;
mod fuzz;
mod kernel;
mod lab;
mod setup;
mod shell;
mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Set-up, build, lab, demo and tests of the ingress project"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing need, and is missing
    Setup,
    /// Build ingressd and ingressctl, the eBPF programs embedded
    Build(build::Args),
    /// Build, and make a Debian package of it
    Deb(deb::Args),
    /// Install, build, and leave a network standing to play in
    Lab(lab::Args),
    /// Install, build, and show it all at work in a throw-away network
    Demo,
    /// Install, build, and run every test
    Test(test::Args),
    /// Install cargo-fuzz, and throw octets at everything that reads what comes from outside
    Fuzz(fuzz::Args),
    /// Install cargo-deny, and look through the crates of others: advisories, licences, sources
    Deny,
    /// Install, build, and measure against nginx, HAProxy, and snid where it is installed
    Bench(bench::Args),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Build(args) => build::run(&args),
        Command::Deb(args) => deb::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Demo => demo::run(),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Deny => deny::run(),
        Command::Bench(args) => bench::run(&args),
    }
}
