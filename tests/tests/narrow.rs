//! Paths that are narrower than they look: Packet Too Big becomes Fragmentation Needed and the other way round, and
//! transfers arrive.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{CLIENT4, VPS4, WWW};
use ingress_tests::capture::Capture;
use ingress_tests::client::{Answer, random_file, same_content};
use ingress_tests::icmp::{errors4, errors6};
use ingress_tests::paths::{Narrow, TO_CLIENT, TO_SERVERS, TO_VPS};
use ingress_tests::shared::{Stage, stage};
use std::collections::BTreeSet;
use std::path::PathBuf;

#[test]
fn a_router_near_the_client_is_narrower() -> Result<()> {
    let stage = stage();
    let inet = &stage.lab.inet;
    // IPv6 knows no MTU below 1280. What is told that becomes IPv4 packets that routers may cut in pieces.
    for (mtu, told) in [(1300, 1320), (1000, 1280)] {
        let _narrow = Narrow::path(inet, TO_CLIENT, mtu, &[&stage.lab.www])?;
        let errors = Capture::start(&stage.lab.www, "eth0", "icmp6", stage.lab.dir())?;
        let (down, up) = transfers(&stage)?;
        let told_mtus = too_big6(&errors.stop()?);
        assert_eq!(told_mtus, BTreeSet::from([told]), "of {mtu}");
        down.and(up).with_context(|| format!("MTU {mtu}"))?;
    }
    Ok(())
}

#[test]
fn a_router_near_the_vps_is_narrower_upwards() -> Result<()> {
    let stage = stage();
    let _narrow = Narrow::path(&stage.lab.inet, TO_VPS, 1300, &[&stage.lab.client])?;
    let errors = Capture::start(&stage.lab.client, "eth0", "icmp", stage.lab.dir())?;
    let (down, up) = transfers(&stage)?;
    let errors = errors4(&errors.stop()?);
    assert!(!errors.is_empty(), "the path was wide enough");
    for error in &errors {
        assert_eq!((error.kind, error.code, error.detail & 0xffff), (3, 4, 1300));
        assert_ne!(error.from, VPS4, "the VPS is behind the narrow part");
    }
    down.and(up)
}

#[test]
fn the_network_at_home_is_narrower_than_the_tunnel() -> Result<()> {
    let stage = stage();
    let _narrow = Narrow::path(&stage.lab.home, TO_SERVERS, 1340, &[&stage.lab.client])?;
    let errors = Capture::start(&stage.lab.client, "eth0", "icmp", stage.lab.dir())?;
    let (down, up) = transfers(&stage)?;
    let errors = errors4(&errors.stop()?);
    assert!(!errors.is_empty(), "the client was never told");
    for error in &errors {
        assert_eq!((error.kind, error.code), (3, 4));
        assert_eq!(error.detail & 0xffff, 1320);
        assert_eq!(error.from, VPS4, "routers at home have no IPv4 address");
        assert_eq!(error.quoted.source.ip(), CLIENT4);
    }
    assert!(errors.len() < 100, "{}: told again and again", errors.len());
    down.and(up)
}

/// Eight megabytes each way at the same time.
fn transfers(stage: &Stage) -> Result<(Result<()>, Result<()>)> {
    let file = stage.web.root().join("icmp.bin");
    if !file.exists() {
        random_file(&file, 8)?;
    }
    let limit = ["--max-time", "30"];
    let down = stage.by_name(WWW, "/icmp.bin")?.args(&limit).start();
    let up = stage.by_name(WWW, "/icmp-up.bin")?.args(&limit).upload(&file).start();
    let check = |answer: Answer, stored: PathBuf| -> Result<()> {
        ensure!(answer.exit_code() == 0, "{}", answer.error());
        ensure!(same_content(&stored, &file)?, "what came is not what was sent");
        std::fs::remove_file(stored).context("remove what came")
    };
    let (down, up) = (down.join().expect("no panic")?, up.join().expect("no panic")?);
    let body = down.body.clone();
    Ok((
        check(down, body).context("down"),
        check(up, stage.web.root().join("icmp-up.bin")).context("up"),
    ))
}

fn too_big6(packets: &[Vec<u8>]) -> BTreeSet<u32> {
    errors6(packets).iter().filter(|error| error.kind == 2).map(|error| error.detail).collect()
}
