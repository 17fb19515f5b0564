//! Finds the programs of this workspace, which cargo puts beside the running one.

use anyhow::{Context, Result};
use std::env;
use std::path::PathBuf;

/// A program of this workspace; `INGRESS_BIN_DIR` names another place to look.
pub fn find(name: &str) -> Result<PathBuf> {
    let exe = env::current_exe().context("find the running program")?;
    let beside = exe.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    env::var_os("INGRESS_BIN_DIR")
        .map(|dir| PathBuf::from(dir).join(name))
        .into_iter()
        .chain(beside)
        .find(|file| file.is_file())
        .with_context(|| {
            format!("`{name}` is not built: `cargo build -p ingress -p ingress-tests --bins`")
        })
}
