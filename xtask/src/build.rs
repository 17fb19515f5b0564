//! `cargo xtask build`: ingressd and ingressctl.

use crate::{setup, shell};
use anyhow::Result;
use std::env;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// Optimised, as for installing
    #[arg(long)]
    release: bool,
    /// With a line in the log for each packet, for finding faults
    #[arg(long)]
    log_packets: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let features: &[&str] = if args.log_packets { &["log-packets"] } else { &[] };
    programs(args.release, features)
}

/// Builds ingressd and ingressctl.
pub fn programs(release: bool, features: &[&str]) -> Result<()> {
    setup::toolchain()?;
    let mut cargo = shell::cargo();
    cargo.args(["build", "--package", "ingress", "--bins", "--features", &features.join(",")]);
    if release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo)
}

/// Where they are then.
pub fn directory(release: bool) -> PathBuf {
    target().join(if release { "release" } else { "debug" })
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| shell::workspace_root().join("target"))
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
