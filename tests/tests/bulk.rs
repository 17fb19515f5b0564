//! Many bytes: none lost, none changed, also while the daemon is away.

use anyhow::{Context, Result};
use ingress_tests::addresses::WWW;
use ingress_tests::client::{Answer, random_file, same_content};
use ingress_tests::shared::{Stage, stage};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const MEGABYTES: usize = 100;
/// Slow enough to outlast a daemon's restart, whatever the machine.
const PACE: [&str; 2] = ["--limit-rate", "8M"];

#[test]
fn a_hundred_megabytes_each_way_over_ipv4() -> Result<()> {
    let stage = stage();
    let file = big_file(&stage)?;
    let down = stage.by_name(WWW, "/big.bin")?.run()?;
    check_download(&down, &file)?;
    let up = stage.by_name(WWW, "/uploaded4.bin")?.upload(&file).run()?;
    check_upload(&stage, &up, &file, "uploaded4.bin")
}

#[test]
fn a_hundred_megabytes_each_way_over_ipv6() -> Result<()> {
    let stage = stage();
    let file = big_file(&stage)?;
    let down = stage.by_ipv6("/big.bin")?.run()?;
    check_download(&down, &file)?;
    let up = stage.by_ipv6("/uploaded6.bin")?.upload(&file).run()?;
    check_upload(&stage, &up, &file, "uploaded6.bin")
}

#[test]
fn killing_the_daemon_costs_no_byte_and_no_name() -> Result<()> {
    let mut stage = stage();
    let file = big_file(&stage)?;
    let begin = Instant::now();
    let down = stage.by_name(WWW, "/big.bin")?.args(&PACE).start();
    let up = stage.by_name(WWW, "/uploaded-away.bin")?.args(&PACE).upload(&file).start();
    thread::sleep(Duration::from_millis(1000));
    stage.daemon_mut()?.kill();
    thread::sleep(Duration::from_millis(1500));
    stage.daemon_mut()?.resume()?;
    let flows = stage.daemon()?.flows()?;
    let back = begin.elapsed();

    let (down, up) = (down.join().expect("no panic")?, up.join().expect("no panic")?);
    check_download(&down, &file)?;
    check_upload(&stage, &up, &file, "uploaded-away.bin")?;
    assert!(down.time > back && up.time > back, "the transfers ended before the daemon was back");
    for transfer in [&down, &up] {
        let port = format!(":{}", transfer.local_port());
        let flow = flows
            .iter()
            .find(|flow| flow["client"].as_str().is_some_and(|client| client.ends_with(&port)))
            .with_context(|| format!("no flow of {port} after the restart in {flows:?}"))?;
        assert_eq!(flow["host"], WWW);
        assert_eq!(flow["state"], "established");
    }
    Ok(())
}

#[test]
fn a_client_that_comes_while_the_daemon_is_away_waits_for_it() -> Result<()> {
    let mut stage = stage();
    stage.daemon_mut()?.kill();
    // The heartbeat must be seen to be stale first.
    thread::sleep(Duration::from_secs(4));
    let early = stage.by_name(WWW, "/?early")?.args(&["--max-time", "20"]).start();
    thread::sleep(Duration::from_millis(500));
    stage.daemon_mut()?.resume()?;
    let early = early.join().expect("no panic")?;
    assert_eq!(early.status(), 200, "{}", early.error());
    Ok(())
}

#[test]
fn an_orderly_stop_breaks_nothing_either() -> Result<()> {
    let mut stage = stage();
    let file = big_file(&stage)?;
    let down = stage.by_name(WWW, "/big.bin")?.args(&PACE).start();
    thread::sleep(Duration::from_millis(700));
    stage.daemon_mut()?.stop()?;
    thread::sleep(Duration::from_millis(300));
    stage.daemon_mut()?.resume()?;
    assert!(!down.is_finished(), "the download ended before the daemon was back");
    check_download(&down.join().expect("no panic")?, &file)
}

fn big_file(stage: &Stage) -> Result<PathBuf> {
    let file = stage.web.root().join("big.bin");
    if !file.exists() {
        random_file(&file, MEGABYTES)?;
    }
    Ok(file)
}

fn check_download(answer: &Answer, expected: &Path) -> Result<()> {
    assert_eq!(answer.exit_code(), 0, "{}", answer.error());
    assert_eq!(answer.status(), 200);
    assert!(same_content(&answer.body, expected)?, "what came is not what was sent");
    std::fs::remove_file(&answer.body)?;
    Ok(())
}

fn check_upload(stage: &Stage, answer: &Answer, sent: &Path, name: &str) -> Result<()> {
    assert_eq!(answer.exit_code(), 0, "{}", answer.error());
    assert!([201, 204].contains(&answer.status()), "{}", answer.status());
    let stored = stage.web.root().join(name);
    assert!(same_content(&stored, sent)?, "what was stored is not what was sent");
    std::fs::remove_file(stored)?;
    Ok(())
}
