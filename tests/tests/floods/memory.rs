//! A daemon that may have no more memory, as a service manager may decide.

use crate::mint::{ISN, Mint};
use anyhow::{Context, Result};
use ingress_tests::addresses::NOBODY;
use ingress_tests::daemon::Daemon;
use ingress_tests::flood::{self, Flood};
use ingress_tests::hello::Hello;
use ingress_tests::process::{self, wait_until};
use ingress_tests::shared::stage;
use ingress_tests::transfers::{Transfers, fetch};
use std::fs;
use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

/// What it may have beyond what it has.
const MORE: u64 = 3 << 20;
/// One segment of a hello that has many.
const PIECE: usize = 1200;

/// It ends, is started again as by systemd, and is flooded on: what is established does not notice.
#[test]
fn a_flood_that_needs_more_memory_than_there_is() -> Result<()> {
    let mut stage = stage();
    let transfers = Transfers::start_at(&stage, "starved", "1M")?;
    let mint = Mint::of(&stage)?;
    let hello = Hello::for_name(NOBODY).of_size(8000).bytes();
    limit(stage.daemon()?, MORE)?;
    let flood = Flood::start(&stage.lab, Some(4000), move |nth| {
        // 64 neighbourhoods, each client with an unfinished hello.
        let address = [10, 3, (nth % 64) as u8, (nth / 64) as u8];
        let client = SocketAddrV4::new(address.into(), 1024 + (nth / 16384) as u16);
        flood::data(client, ISN, mint.cookie(client).wrapping_add(1), &hello[..PIECE])
    })?;
    let daemon = stage.daemon_mut()?;
    wait_until(Duration::from_secs(10), "the memory is used up", || !daemon.is_running())?;
    daemon.resume()?;
    assert!(transfers.last(), "they should have been under way for longer");
    transfers.finish(&stage)?;
    println!("memory: used up after {} hellos at the latest", flood.stop());
    fetch(&stage, "/?fed-again")
}

/// Bounds the memory of its own that it may write to.
fn limit(daemon: &Daemon, more: u64) -> Result<()> {
    let pid = daemon.pid()?.to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).context("no VmData")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    let bound = format!("--data={}", (kilobytes << 10) + more);
    process::output(Command::new("prlimit").args(["--pid", &pid, &bound]))?;
    Ok(())
}
