//! `cargo xtask demo`: everything at work, in a throw-away network.

use crate::lab;
use anyhow::Result;

pub fn run() -> Result<()> {
    lab::start(&["demo"])
}
