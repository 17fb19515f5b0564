//! `cargo xtask deny`: whose code goes into the binaries, by the rules in `deny.toml`.

use crate::{setup, shell};
use anyhow::Result;

pub fn run() -> Result<()> {
    setup::denier()?;
    shell::run(shell::cargo().args(["deny", "--workspace", "check"]))
}
