//! The XDP program in front of the uplink: what it answers is as good as what is answered at tc, and it goes
//! with the daemon.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{VPS4, WWW};
use ingress_tests::bpf::gate::{Gate, Gatekeeper};
use ingress_tests::client::{random_file, same_content};
use ingress_tests::daemon::config;
use ingress_tests::flood::{self, Flood, anywhere};
use ingress_tests::process::{self, wait_until};
use ingress_tests::rawclient::{RawLink, USUAL_OPTIONS};
use ingress_tests::shared::{Stage, stage};
use serde_json::Value;
use std::net::{SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(3);

#[test]
fn connections_are_made_and_carried_behind_it() -> Result<()> {
    let mut stage = stage();
    let file = stage.web.root().join("shield.bin");
    random_file(&file, 3)?;
    set(&mut stage, "generic")?;
    assert_eq!(shield(&stage)?, "generic");
    assert!(attached(&stage)?, "no XDP program on the uplink");
    for _ in 0..20 {
        let answer = stage.by_name(WWW, "/shield.bin")?.run()?;
        assert_eq!(answer.status(), 200, "{}", answer.error());
        assert!(same_content(&answer.body, &file)?);
        std::fs::remove_file(&answer.body)?;
    }
    // A retry on a port that has a flow is for the program at tc, which knows of it.
    let link = RawLink::open(&stage.lab)?;
    for _ in 0..2 {
        let connection = link.connect(31_000, SocketAddrV4::new(VPS4, 443), 5, USUAL_OPTIONS)?;
        assert_eq!(connection.syn_ack.mss(), Some(1360));
    }
    stage.daemon_mut()?.stop()?;
    assert!(!attached(&stage)?, "it stays without the daemon");
    set(&mut stage, "off")?;
    assert_eq!(shield(&stage)?, "off");
    assert!(!attached(&stage)?);
    Ok(())
}

#[test]
fn reloads_put_it_up_and_take_it_down() -> Result<()> {
    let stage = stage();
    let daemon = stage.daemon()?;
    for mode in ["generic", "off", "auto", "generic", "off"] {
        daemon.configure(&with(&stage, mode))?;
        let reloaded = daemon.ctl(&["reload"])?;
        assert!(reloaded.status.success(), "{reloaded:?}");
        assert_eq!(attached(&stage)?, mode == "generic", "{mode}");
        assert_eq!(stage.by_name(WWW, "/?shield")?.run()?.status(), 200, "{mode}");
    }
    Ok(())
}

#[test]
fn a_flood_ends_at_it() -> Result<()> {
    let mut stage = stage();
    set(&mut stage, "generic")?;
    let flood = Flood::start(&stage.lab, None, |nth| flood::syn(anywhere(nth)))?;
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..5 {
        let answer =
            stage.by_name(WWW, "/?behind-the-shield")?.args(&["--max-time", "15"]).run()?;
        assert_eq!(answer.status(), 200, "{}", answer.error());
    }
    // The program at tc would answer as well.
    assert!(attached(&stage)?);
    let sent = flood.stop();
    let answered = stage.daemon()?.metric(r#"syn_cookies_total{result="sent"}"#)?;
    println!("{sent} sent, {answered} answered");
    assert!(answered > 1000.0, "{answered}");
    set(&mut stage, "off")
}

/// A veth that has an XDP program takes what its peer's sends: native mode is tried under a flood, and kept.
#[test]
fn a_flood_brings_it_up_by_itself() -> Result<()> {
    let mut stage = stage();
    let _peer = Gatekeeper::post(&stage.lab.inet, "vps", Gate::Door)?;
    flood_brings(&mut stage, |log, shield| shield == "native" && !log.contains("does not get out"))
}

/// A veth that has none loses it, without a word to anybody.
#[test]
fn native_mode_that_loses_every_answer_is_given_up() -> Result<()> {
    let mut stage = stage();
    flood_brings(&mut stage, |log, shield| shield == "generic" && log.contains("does not get out"))
}

/// The same where the configuration insists on native mode: who tries again and again gets in, and after the third time
/// it is known why. One client that gets in at once is enough to leave native mode where it is.
#[test]
fn native_mode_that_was_asked_for_is_given_up_too() -> Result<()> {
    let mut stage = stage();
    let peer = Gatekeeper::post(&stage.lab.inet, "vps", Gate::Door)?;
    let before = std::fs::read_to_string(stage.daemon()?.log())?.len();
    set(&mut stage, "native")?;
    // The daemon makes nothing of who comes in the first two seconds.
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(stage.by_name(WWW, "/?native")?.run()?.status(), 200);
    drop(peer);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let stranger = || -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let (to, patience) = (SocketAddrV4::new(VPS4, 443), Duration::from_millis(1500));
                let connected =
                    stage.lab.client.enter(|| TcpStream::connect_timeout(&to.into(), patience))?;
                // Nothing is said; the handshake is over with that.
                drop(connected);
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        };
        let strangers: Vec<_> = (0..2).map(|_| scope.spawn(stranger)).collect();
        let watched = (|| -> Result<()> {
            std::thread::sleep(5 * SOON);
            let log = std::fs::read_to_string(stage.daemon()?.log())?;
            ensure!(!log[before..].contains("trying generic mode"), "it was good");
            assert_eq!(shield(&stage)?, "native");
            // A daemon that has not seen that.
            stage.daemon()?.configure(&with(&stage, "off"))?;
            stage.daemon()?.ctl(&["reload"])?;
            stage.daemon()?.configure(&with(&stage, "native"))?;
            stage.daemon()?.ctl(&["reload"])?;
            assert_eq!(shield(&stage)?, "native");
            wait_until(40 * SOON, "native mode is given up", || {
                let status: Result<Value> = stage.daemon().and_then(|it| it.ctl_json(&["status"]));
                status.is_ok_and(|status| status["native_is_lost"] == true)
            })
        })();
        stop.store(true, Ordering::Relaxed);
        for stranger in strangers {
            stranger.join().expect("no panic")?;
        }
        let log = std::fs::read_to_string(stage.daemon()?.log())?;
        watched.with_context(|| log[before..].to_owned())
    })?;
    assert_eq!(shield(&stage)?, "generic");
    assert_eq!(stage.by_name(WWW, "/?generic")?.run()?.status(), 200);
    let daemon = stage.daemon()?;
    let file = daemon.config_file().to_str().context("a path")?;
    for args in [&["status"][..], &["doctor", "--config", file]] {
        let said = String::from_utf8(daemon.ctl(args)?.stdout)?;
        assert!(said.contains("native mode does not get out"), "{said}");
    }
    set(&mut stage, "off")
}

/// Puts daemons that decide for themselves under a flood, until the shield of one is as it shall be. Each tries native
/// mode once, and on a busy machine too few clients may come to tell anything by them.
fn flood_brings(stage: &mut Stage, done: impl Fn(&str, &str) -> bool) -> Result<()> {
    let mut brought = Ok(());
    for _ in 0..3 {
        set(stage, "auto")?;
        brought = flooded_until(stage, &done);
        match &brought {
            Ok(()) => break,
            Err(error) => println!("{error:#}"),
        }
    }
    set(stage, "off")?;
    brought
}

/// Puts the daemon under a flood of SYNs until the shield is as it shall be, and for some seconds more. All the
/// while clients come, and all must be served.
fn flooded_until(stage: &Stage, done: impl Fn(&str, &str) -> bool) -> Result<()> {
    const CLIENTS: usize = 4;
    let log = stage.daemon()?.log();
    let before = std::fs::read_to_string(&log)?.len();
    let stop = AtomicBool::new(false);
    let served = AtomicU32::new(0);
    let said = || -> Result<String> { Ok(std::fs::read_to_string(&log)?[before..].to_owned()) };
    std::thread::scope(|scope| -> Result<()> {
        let client = || -> Result<Duration> {
            let mut slowest = Duration::ZERO;
            while !stop.load(Ordering::Relaxed) {
                let curl = stage.by_name(WWW, "/?flooded")?.args(&["--max-time", "15"]);
                let answer = curl.run()?;
                assert_eq!(answer.status(), 200, "{}", answer.error());
                std::fs::remove_file(&answer.body)?;
                served.fetch_add(1, Ordering::Relaxed);
                slowest = slowest.max(answer.time);
            }
            Ok(slowest)
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let watched = (|| -> Result<u64> {
            let flood = Flood::start(&stage.lab, Some(15_000), |nth| flood::syn(anywhere(nth)))?;
            wait_until(20 * SOON / 3, "the shield is up", || {
                said().is_ok_and(|log| shield(stage).is_ok_and(|mode| done(&log, &mode)))
            })?;
            // As it is now it stays.
            std::thread::sleep(2 * SOON);
            ensure!(done(&said()?, &shield(stage)?), "now it is {}", shield(stage)?);
            ensure!(attached(stage)?, "no XDP program on the uplink");
            Ok(flood.stop())
        })();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            println!("the slowest client took {:?}", client.join().expect("no panic")?);
        }
        println!("{} SYNs, {} clients", watched?, served.load(Ordering::Relaxed));
        Ok(())
    })
}

fn with(stage: &Stage, mode: &str) -> String {
    let xdp = format!("interface = \"eth0\"\nxdp = \"{mode}\"");
    config(&stage.lab).replacen("interface = \"eth0\"", &xdp, 1)
}

fn set(stage: &mut Stage, mode: &str) -> Result<()> {
    let config = with(stage, mode);
    let daemon = stage.daemon_mut()?;
    daemon.stop()?;
    daemon.configure(&config)?;
    daemon.resume()
}

fn shield(stage: &Stage) -> Result<String> {
    let status: Value = stage.daemon()?.ctl_json(&["status"])?;
    Ok(status["shield"].as_str().context("no shield in the status")?.to_owned())
}

/// By the kernel's own account.
fn attached(stage: &Stage) -> Result<bool> {
    let mut last = String::new();
    let mut look = || -> Result<bool> {
        let mut show = stage.lab.vps.command("ip")?;
        last = process::output(show.args(["-details", "link", "show", "dev", "eth0"]))?;
        Ok(last.contains("xdp"))
    };
    let first = look()?;
    // Links of a process that has just ended go a moment later.
    let _ = wait_until(SOON / 3, "the same again", || look().is_ok_and(|now| now != first));
    look()
}
