//! `cargo xtask test`: everything that CI checks.

use crate::{build, setup, shell};
use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// Passed on to `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    shell::need_root("the tests' lab")?;
    setup::run()?;
    // The lab starts the daemon as a program; `cargo test` alone would not build that.
    build::daemon_and_lab()?;
    let mut cargo = shell::cargo();
    cargo.args(["test", "--workspace", "--exclude", "ingress-ebpf", "--no-fail-fast"]);
    shell::run(cargo.args(&args.cargo))
}
