//! `cargo xtask bench`: this project and its rivals, measured in one network.

use crate::{build, setup, shell};
use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// For `bench run`: --quick, --only MEASURE, --rounds N (by default 7), --out DIR
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    setup::lab()?;
    setup::rivals()?;
    shell::run(shell::cargo().args([
        "build",
        "--release",
        "--package",
        "ingress",
        "--package",
        "ingress-tests",
        "--bins",
    ]))?;
    let bench = build::directory(true).join("bench");
    shell::run(std::process::Command::new(bench).arg("run").args(&args.rest))
}
