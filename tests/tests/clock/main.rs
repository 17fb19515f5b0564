//! A wall clock that jumps, as on a VPS that was restored from a snapshot, or whose clock somebody has set. Only the
//! daemon's own jumps: the machine's is everybody's.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{ALIAS, WWW};
use ingress_tests::daemon::{Daemon, config};
use ingress_tests::process;
use ingress_tests::shared::Stage;
use ingress_tests::transfers::{Transfers, fetch};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: i64 = 24 * 3600;
/// Of an answer of the lab's DNS server, in seconds.
const LIFETIME: u64 = 5;

#[test]
fn a_wall_clock_that_jumps_changes_nothing() -> Result<()> {
    let mut stage = Stage::build_without_daemon()?;
    let (library, ahead) = (stage.lab.dir().join("step.so"), stage.lab.dir().join("ahead"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clock/step.rs");
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=cdylib", source, "-o"]).arg(&library);
    process::output(&mut rustc)?;
    fs::write(&ahead, "0")?;
    let environment = [("LD_PRELOAD", library), ("WALL_CLOCK_AHEAD", ahead.clone())];
    stage.daemon = Some(Daemon::start_in(&stage.lab, &config(&stage.lab), &environment)?);

    let transfers = Transfers::start(&stage, "clock")?;
    for jump in [DAY, -2 * DAY, 40 * 365 * DAY] {
        fs::write(&ahead, jump.to_string())?;
        let daemon = stage.daemon()?;
        let reloaded = daemon.ctl(&["reload"])?;
        ensure!(reloaded.status.success(), "{reloaded:?}");
        let status: Value = daemon.ctl_json(&["status"])?;
        let reload = status["last_reload"]["timestamp_seconds"].as_i64().context("no time")?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() as i64;
        assert!((reload - wall - jump).abs() < 60, "{reload}: the clock has not jumped by {jump}");

        assert!(status["heartbeat_age_seconds"].as_f64().context("no age")? < 3.0, "{status}");
        assert!(status["uptime_seconds"].as_u64().context("no time")? < 600, "{status}");
        for flow in daemon.flows()? {
            assert!(flow["age_seconds"].as_u64().context("no age")? < 600, "{flow}");
        }
        let left = ttl(&stage)?;
        assert!(left <= LIFETIME, "{left} s");
        // One whose name is known, and one whose name is asked for now.
        fetch(&stage, "/?jumped")?;
        let flushed = stage.daemon()?.ctl(&["dns", "--flush"])?;
        ensure!(flushed.status.success(), "{flushed:?}");
        assert_eq!(stage.by_name(ALIAS, "/?alias")?.run()?.status(), 200);
        fetch(&stage, "/?asked")?;
        for command in [&["status"][..], &["top", "-n", "1"], &["dns"]] {
            let said = stage.daemon()?.ctl(command)?;
            ensure!(said.status.success(), "{command:?}: {said:?}");
        }
    }
    transfers.finish(&stage)
}

/// How long the daemon believes the address of a name.
fn ttl(stage: &Stage) -> Result<u64> {
    let known = stage.daemon()?.ctl_json(&["dns"])?;
    let names = known["names"].as_array().context("no names")?;
    let row = names.iter().find(|row| row["name"] == WWW).context("not asked for")?;
    row["ttl_seconds"].as_u64().with_context(|| format!("no time: {row}"))
}
