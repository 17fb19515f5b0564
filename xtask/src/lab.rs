//! `cargo xtask lab`: a network left standing to play in.

use crate::{build, setup, shell};
use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// `up` (the default), `down`, `clean`, with their own options
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    lab: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    let words: Vec<&str> = args.lab.iter().map(String::as_str).collect();
    start(if words.is_empty() { &["up"] } else { &words })
}

/// Installs, builds, and hands over to the lab.
pub fn start(args: &[&str]) -> Result<()> {
    shell::need_root("the lab")?;
    setup::lab()?;
    build::daemon_and_lab()?;
    let mut lab = shell::cargo();
    lab.args(["run", "--quiet", "--package", "ingress-tests", "--bin", "lab", "--"]).args(args);
    shell::run(&mut lab)
}
