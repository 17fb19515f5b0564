//! `cargo xtask build`: ingressd and ingressctl.

use crate::{setup, shell};
use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// Optimised, as for installing
    #[arg(long)]
    release: bool,
}

pub fn run(args: &Args) -> Result<()> {
    setup::toolchain()?;
    let mut cargo = shell::cargo();
    cargo.args(["build", "--package", "ingress", "--bins"]);
    if args.release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)
}

/// The daemon and the lab that runs it, unoptimised.
pub fn daemon_and_lab() -> Result<()> {
    shell::run(shell::cargo().args([
        "build",
        "--package",
        "ingress",
        "--package",
        "ingress-tests",
        "--bins",
    ]))
}
