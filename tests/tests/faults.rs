//! Faults that nobody is there to mend: established flows do not notice, and everything recovers by itself.

use anyhow::{Context, Result};
use ingress_common::maps::ABI;
use ingress_tests::addresses::WWW;
use ingress_tests::cleanup;
use ingress_tests::daemon::{config, once};
use ingress_tests::process::{self, wait_until};
use ingress_tests::shared::{Stage, stage};
use ingress_tests::transfers::{Transfers, fetch};
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_daemon_that_is_killed_again_and_again() -> Result<()> {
    let mut stage = stage();
    let transfers = Transfers::start(&stage, "killed")?;
    let mut served = 0;
    for round in 0..6 {
        let visitor = stage.by_name(WWW, &format!("/?round{round}"))?.args(&["--max-time", "20"]);
        let visitor = visitor.start();
        // Sooner each time: at every stage of the visitor's handshake.
        thread::sleep(Duration::from_millis(40 >> round));
        stage.daemon_mut()?.kill();
        thread::sleep(Duration::from_millis(200));
        stage.daemon_mut()?.resume()?;
        served += u32::from(visitor.join().expect("no panic")?.status() == 200);
    }
    println!("killed: {served} of 6 visitors were served all the same");
    assert!(served >= 5, "only {served} of 6 were served");
    transfers.finish(&stage)?;
    fetch(&stage, "/?not-killed")
}

#[test]
fn a_daemon_that_freezes() -> Result<()> {
    let stage = stage();
    let transfers = Transfers::start(&stage, "frozen")?;
    stage.daemon()?.signal(Signal::SIGSTOP);
    // The heartbeat must be seen to be stale.
    thread::sleep(Duration::from_secs(4));
    let early = stage.by_name(WWW, "/?early")?.args(&["--max-time", "20"]).start();
    thread::sleep(Duration::from_secs(2));
    stage.daemon()?.signal(Signal::SIGCONT);
    let early = early.join().expect("no panic")?;
    assert_eq!(early.status(), 200, "{}", early.error());
    transfers.finish(&stage)?;
    fetch(&stage, "/?thawed")
}

#[test]
fn another_program_on_the_same_hook() -> Result<()> {
    let mut stage = stage();
    let filter = |stage: &Stage, what: &[&str]| {
        let mut tc = Command::new("tc");
        tc.args(["-netns", stage.lab.vps.name()]).args(what);
        process::output(&mut tc)
    };
    let tunnel = stage.lab.tunnel().to_owned();
    let transfers = Transfers::start(&stage, "shared")?;
    for device in ["eth0", &tunnel] {
        // One may be there already, where ours is a filter of it.
        let _ = filter(&stage, &["qdisc", "add", "dev", device, "clsact"]);
        let matches_all = ["bpf", "bytecode", "1,6 0 0 4294967295", "classid", "1:1"];
        let mut words = vec!["filter", "add", "dev", device, "ingress", "prio", "7"];
        words.extend(matches_all);
        filter(&stage, &words)?;
    }
    fetch(&stage, "/?shared")?;
    stage.daemon_mut()?.kill();
    stage.daemon_mut()?.resume()?;
    fetch(&stage, "/?shared-again")?;
    transfers.finish(&stage)?;
    for device in ["eth0", &tunnel] {
        let there = filter(&stage, &["filter", "show", "dev", device, "ingress"])?;
        assert!(there.contains("bytecode"), "{device}: the other program is gone: {there}");
        filter(&stage, &["filter", "del", "dev", device, "ingress", "prio", "7"])?;
    }
    fetch(&stage, "/?alone")
}

/// A firewall that lets nothing in and forwards nothing: what the programs carry passes it by.
#[test]
fn a_firewall_that_drops_everything() -> Result<()> {
    let stage = stage();
    let firewall = Firewall::raise(&stage)?;
    let transfers = Transfers::start(&stage, "walled")?;
    fetch(&stage, "/?walled")?;
    assert_eq!(stage.by_ipv6("/?walled6")?.run()?.status(), 200);
    transfers.finish(&stage)?;
    drop(firewall);
    fetch(&stage, "/?torn-down")
}

/// Home's provider gives it another address.
#[test]
fn a_home_that_moves() -> Result<()> {
    let stage = stage();
    let transfers = Transfers::start(&stage, "moved")?;
    stage.lab.move_home("203.0.113.77")?;
    // wireguard-go goes on from its old address until it has missed an answer for fifteen seconds.
    wait_until(2 * SOON, "the VPS knows the new address", || {
        stage.lab.home_endpoint().is_ok_and(|endpoint| endpoint.contains("203.0.113.77"))
    })?;
    assert!(transfers.last(), "they should have been under way for longer");
    fetch(&stage, "/?moved")?;
    transfers.finish(&stage)?;
    stage.lab.return_home()
}

/// Somebody tidies up below /sys/fs/bpf.
#[test]
fn pins_that_are_removed_come_back() -> Result<()> {
    let mut stage = stage();
    let pins = cleanup::bpffs(stage.lab.id()).join(format!("v{ABI}"));
    let transfers = Transfers::start(&stage, "unpinned")?;
    fs::remove_dir_all(&pins).with_context(|| format!("remove {}", pins.display()))?;
    fetch(&stage, "/?unpinned")?;
    // The daemon looks every 30 s, and whenever the network changes.
    stage.lab.vps.ip("addr add 198.51.100.77/32 dev lo\naddr del 198.51.100.77/32 dev lo\n")?;
    wait_until(SOON, "the pins are back", || {
        pins.join("FLOWS").exists() && pins.join("links/eth0").exists()
    })?;
    // They are the true ones: the next daemon finds the flows in them.
    stage.daemon_mut()?.kill();
    stage.daemon_mut()?.resume()?;
    assert!(stage.daemon()?.flows()?.len() >= 2, "flows are lost");
    transfers.finish(&stage)?;
    fetch(&stage, "/?pinned")
}

#[test]
fn maps_of_another_layout_are_left_alone() -> Result<()> {
    let mut stage = stage();
    let other = cleanup::bpffs(stage.lab.id()).join(format!("v{}", ABI + 1));
    let transfers = Transfers::start(&stage, "layout")?;
    stage.daemon_mut()?.stop()?;
    fs::create_dir(&other)?;
    let refused = once(&stage.lab, &config(&stage.lab), &[], &["run"])?;
    fs::remove_dir(&other)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("another layout") && said.contains("detach"), "{said}");
    stage.daemon_mut()?.resume()?;
    transfers.finish(&stage)?;
    fetch(&stage, "/?layout")
}

/// Rules on the VPS, taken down when this is dropped.
struct Firewall<'a>(&'a Stage);

impl<'a> Firewall<'a> {
    fn raise(stage: &'a Stage) -> Result<Self> {
        // WireGuard and ICMPv6 are let in; what is invalid to conntrack goes nowhere.
        let rules = "add table inet wall\n\
            add chain inet wall in { type filter hook input priority 0; policy drop; }\n\
            add rule inet wall in ct state established,related accept\n\
            add rule inet wall in iif lo accept\n\
            add rule inet wall in udp dport 51820 accept\n\
            add rule inet wall in meta l4proto ipv6-icmp accept\n\
            add chain inet wall out { type filter hook output priority 0; policy accept; }\n\
            add rule inet wall out ct state invalid drop\n\
            add chain inet wall forward { type filter hook forward priority 0; policy drop; }\n";
        let file = stage.lab.dir().join("wall.nft");
        fs::write(&file, rules)?;
        process::output(stage.lab.vps.command("nft")?.arg("-f").arg(&file))?;
        Ok(Self(stage))
    }
}

impl Drop for Firewall<'_> {
    fn drop(&mut self) {
        if let Ok(mut nft) = self.0.lab.vps.command("nft") {
            let _ = nft.args(["delete", "table", "inet", "wall"]).output();
        }
    }
}
