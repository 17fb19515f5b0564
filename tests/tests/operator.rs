//! What operators do: reload, check, detach, and start what must not be started.

use anyhow::{Context, Result, bail};
use ingress_common::maps::ABI;
use ingress_tests::addresses::{CLIENT4, VPS4, WWW, WWW6};
use ingress_tests::cleanup;
use ingress_tests::client::{Curl, random_file};
use ingress_tests::daemon::{config, once};
use ingress_tests::hello::Hello;
use ingress_tests::process::{self, wait_until};
use ingress_tests::shared::{Stage, stage};
use nix::sys::{signal::Signal, stat::Mode};
use nix::unistd::mkfifo;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(3);

/// curl's exit codes.
const REFUSED: i64 = 7;
const TLS_FAILED: i64 = 35;

/// Exit codes of ingressd and ingressctl.
const FAILED: i32 = 1;
const CONFIGURATION: i32 = 78;

#[test]
fn a_reload_adds_and_removes_listeners_and_hosts() -> Result<()> {
    let mut stage = stage();
    stage.disturbed = true;
    let (daemon, usual) = (stage.daemon()?, config(&stage.lab));
    let late = "late.example.test";
    random_file(&stage.web.root().join("operator.bin"), 1)?;
    let slow =
        Curl::by_name_and_port(&stage.lab, &stage.certificate, WWW, 8443, "/slow/operator.bin")?
            .start();
    assert_eq!(stage.by_name(late, "/")?.run()?.exit_code(), TLS_FAILED);
    let with_host = usual.replace("[hosts]", &format!("[hosts]\n\"{late}\" = \"{WWW6}\""));
    daemon.configure(&with_host.replace("[443, 8443]", "[443]"))?;
    let reloaded = text(&daemon.ctl(&["reload"])?);
    assert!(reloaded.contains("listeners") && reloaded.contains("hosts"), "{reloaded}");
    assert_eq!(stage.by_name(late, "/?late")?.run()?.status(), 200);
    let unlisted = second_port(&stage)?;
    assert_eq!(unlisted.0, REFUSED, "{}: the port is the host's now", unlisted.1);

    daemon.configure(&usual)?;
    daemon.signal(Signal::SIGHUP);
    wait_until(SOON, "the port is listed again", || {
        second_port(&stage).is_ok_and(|(exit_code, _)| exit_code == 0)
    })?;
    assert_eq!(stage.by_name(late, "/")?.run()?.exit_code(), TLS_FAILED);
    let slow = slow.join().expect("no panic")?;
    assert_eq!(slow.exit_code(), 0, "the flow of an unlisted port: {}", slow.error());
    assert_eq!(fs::metadata(slow.body)?.len(), 1 << 20);
    stage.disturbed = false;
    Ok(())
}

#[test]
fn a_wrong_file_is_refused_whole() -> Result<()> {
    let mut stage = stage();
    stage.disturbed = true;
    let (daemon, usual) = (stage.daemon()?, config(&stage.lab));
    // The new host is right, the port is not.
    let wrong = usual
        .replace("[hosts]", "[hosts]\n\"half.example.test\" = \"2001:db8:1:0:1::80\"")
        .replace("[443, 8443]", "[443, 84430]");
    let line = wrong.lines().position(|line| line.contains("84430")).context("the line")? + 1;
    daemon.configure(&wrong)?;
    let refused = daemon.ctl(&["reload"])?;
    let place = format!("{}:{line}", daemon.config_file().display());
    assert_eq!(refused.status.code(), Some(CONFIGURATION), "{}", text(&refused));
    assert!(text(&refused).contains(&place), "{place} in {}", text(&refused));
    let status = daemon.ctl_json(&["status"])?;
    assert!(status["last_reload"]["error"].is_string(), "{status}");
    let log = fs::metadata(daemon.log())?.len();
    daemon.signal(Signal::SIGHUP);
    wait_until(SOON, "the log says so, too", || {
        let all = fs::read(daemon.log()).unwrap_or_default();
        String::from_utf8_lossy(&all[usize::try_from(log).unwrap_or(0)..]).contains(&place)
    })?;
    assert_eq!(stage.by_name("half.example.test", "/")?.run()?.exit_code(), TLS_FAILED);
    assert_eq!(second_port(&stage)?.0, 0);
    // What can only change with a restart is refused, too, and said.
    daemon.configure(&usual.replace("9469", "9470"))?;
    let refused = daemon.ctl(&["reload"])?;
    assert_eq!(refused.status.code(), Some(CONFIGURATION));
    assert!(text(&refused).contains("restart"), "{}", text(&refused));
    daemon.configure(&usual)?;
    let reloaded = daemon.ctl(&["reload"])?;
    assert!(reloaded.status.success(), "{}", text(&reloaded));
    assert!(daemon.ctl_json(&["status"])?["last_reload"]["error"].is_null());
    stage.disturbed = false;
    Ok(())
}

#[test]
fn check_says_what_is_wrong_and_where() -> Result<()> {
    let stage = stage();
    let usual = config(&stage.lab);
    let right = once(&stage.lab, &usual, &[], &["check"])?;
    assert_eq!(right.status.code(), Some(0), "{}", text(&right));
    assert!(text(&right).ends_with("once.toml: OK\n"), "{}", text(&right));
    let second_site = "[[site]]\nname = \"b\"\ninterface = \"b0\"\nprefixes = [\"2001:db8:1:0:1:5::/96\"]\n\n[nat46]";
    for (from, to, at, word) in [
        ("interface = \"eth0\"", "interfaces = \"eth0\"", "interfaces =", "interface"),
        ("interface = \"eth0\"", "interface = \"eth0", "\"eth0", ""),
        ("protocol = \"postgres\"", "protocol = \"pg\"", "\"pg\"", "postgres"),
        ("[nat46]", second_site, "1:5::/96", "overlaps"),
        ("prefix = \"64:ff9b:1::/96\"", "prefix = \"64:ff9b:1::/95\"", "/95", "96"),
        ("ports = [5432]", "ports = [443]", "ports = [443]", "443"),
        ("listen = \"127.0.0.1:9469\"", "listen = \"localhost\"", "localhost", ""),
    ] {
        let wrong = usual.replacen(from, to, 1);
        assert_ne!(wrong, usual, "{from}");
        let refused = once(&stage.lab, &wrong, &[], &["check"])?;
        let said = text(&refused);
        assert_eq!(refused.status.code(), Some(CONFIGURATION), "{to}: {said}");
        let line = wrong.lines().position(|line| line.contains(at)).context("the line")? + 1;
        assert!(said.contains(&format!("once.toml:{line}")), "line {line}: {said}");
        assert!(said.contains(word), "{word}: {said}");
    }
    let gone = once(&stage.lab, &usual, &[], &["check", "--config", "/none/such.toml"])?;
    assert_eq!(gone.status.code(), Some(CONFIGURATION));
    assert!(text(&gone).contains("/none/such.toml"), "{}", text(&gone));
    Ok(())
}

#[test]
fn a_second_daemon_is_refused_and_does_no_harm() -> Result<()> {
    let stage = stage();
    let usual = config(&stage.lab);
    let elsewhere = usual.replace("control.sock", "other.sock").replace("9469", "9470");
    random_file(&stage.web.root().join("second.bin"), 1)?;
    let slow = stage.by_name(WWW, "/slow/second.bin")?.args(&["--max-time", "20"]).start();
    for config in [&usual, &elsewhere] {
        let refused = once(&stage.lab, config, &[], &["run"])?;
        assert_eq!(refused.status.code(), Some(FAILED), "{}", text(&refused));
        assert!(text(&refused).contains("another ingressd"), "{}", text(&refused));
    }
    assert_eq!(stage.by_name(WWW, "/?first-daemon")?.run()?.status(), 200);
    assert_eq!(slow.join().expect("no panic")?.exit_code(), 0);
    Ok(())
}

/// Loading programs, opening raw sockets and giving the control socket away are over when it is ready.
#[test]
fn a_running_daemon_has_two_capabilities() -> Result<()> {
    const BPF_AND_NET_ADMIN: u64 = 1 << 39 | 1 << 12;
    let stage = stage();
    let threads = format!("/proc/{}/task", stage.daemon()?.pid()?);
    for thread in fs::read_dir(threads)? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        for set in ["CapInh:", "CapPrm:", "CapEff:"] {
            let line = status.lines().find_map(|line| line.strip_prefix(set)).context("no set")?;
            let has = u64::from_str_radix(line.trim(), 16)?;
            let expected = if set == "CapInh:" { 0 } else { BPF_AND_NET_ADMIN };
            assert_eq!(has, expected, "{set} of {status}");
        }
    }
    Ok(())
}

/// Some supervisors start their children with the signals blocked that they wait for themselves.
#[test]
fn a_blocked_sigterm_ends_it_all_the_same() -> Result<()> {
    let mut stage = stage();
    let daemon = stage.daemon_mut()?;
    daemon.stop()?;
    let before = fs::read_to_string(daemon.log())?.len();
    daemon.launch_by_env(&["--block-signal"])?;
    daemon.await_ready()?;
    daemon.stop()?;
    let log = &fs::read_to_string(daemon.log())?[before..];
    assert!(log.contains("stopped; established flows go on"), "{log}");
    daemon.resume()
}

/// Whoever asks for a reload while it starts gets one when it has started.
#[test]
fn a_hang_up_does_not_end_a_daemon_that_starts() -> Result<()> {
    let mut stage = stage();
    let daemon = stage.daemon_mut()?;
    for _ in 0..5 {
        daemon.stop()?;
        let before = fs::read_to_string(daemon.log())?.len();
        daemon.launch()?;
        let status = format!("/proc/{}/status", daemon.pid()?);
        wait_until(SOON, "SIGHUP is caught", || catches_hang_up(&status).unwrap_or(false))?;
        let in_time = !daemon.socket().exists();
        daemon.signal(Signal::SIGHUP);
        daemon.await_ready()?;
        wait_until(SOON, "the configuration is read again", || {
            let log = fs::read_to_string(daemon.log());
            log.is_ok_and(|log| log[before..].contains("configuration reloaded"))
        })?;
        if in_time {
            return Ok(());
        }
    }
    bail!("each time it had started already")
}

/// The file is a pipe that nobody writes to for a while.
#[test]
fn sigterm_is_heard_while_a_reload_goes_on() -> Result<()> {
    let mut stage = stage();
    stage.disturbed = true;
    let usual = config(&stage.lab);
    let daemon = stage.daemon_mut()?;
    fs::remove_file(daemon.config_file())?;
    mkfifo(daemon.config_file(), Mode::S_IRUSR | Mode::S_IWUSR)?;
    daemon.signal(Signal::SIGHUP);
    thread::sleep(Duration::from_millis(500));
    daemon.signal(Signal::SIGTERM);
    let socket = daemon.socket().to_owned();
    let heard = wait_until(SOON, "it has begun to stop", || !socket.exists());
    daemon.stop()?;
    fs::remove_file(daemon.config_file())?;
    daemon.configure(&usual)?;
    daemon.resume()?;
    stage.disturbed = false;
    heard
}

#[test]
fn detach_leaves_nothing() -> Result<()> {
    let mut stage = stage();
    let pins = cleanup::bpffs(stage.lab.id());
    let running = once(&stage.lab, &config(&stage.lab), &[], &["detach"])?;
    assert_eq!(running.status.code(), Some(FAILED), "{}", text(&running));
    assert!(text(&running).contains("another ingressd"), "{}", text(&running));
    assert_eq!(stage.by_name(WWW, "/?still")?.run()?.status(), 200);

    stage.daemon_mut()?.stop()?;
    let absorbed = stage.by_name(WWW, "/")?.args(&["--max-time", "1"]).run()?;
    assert_ne!(absorbed.exit_code(), REFUSED, "the programs stay when the daemon goes");
    let detached = once(&stage.lab, &config(&stage.lab), &[], &["detach"])?;
    assert_eq!(detached.status.code(), Some(0), "{}", text(&detached));
    assert!(text(&detached).contains('2'), "{}", text(&detached));
    assert!(!pins.exists(), "nothing is pinned");
    wait_until(SOON, "the host answers for itself", || {
        let asked = stage.by_name(WWW, "/").map(|curl| curl.args(&["--max-time", "1"]).run());
        asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.exit_code() == REFUSED))
    })?;
    let again = once(&stage.lab, &config(&stage.lab), &[], &["detach"])?;
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));

    stage.daemon_mut()?.resume()?;
    assert_eq!(stage.by_name(WWW, "/?attached-again")?.run()?.status(), 200);
    Ok(())
}

#[test]
fn what_is_missing_is_named() -> Result<()> {
    let mut stage = stage();
    let usual = config(&stage.lab);
    let bpffs = cleanup::bpffs(stage.lab.id()).display().to_string();
    stage.daemon_mut()?.stop()?;
    let nowhere = stage.lab.dir().join("no-bpffs").display().to_string();
    let refused = once(&stage.lab, &usual.replace(&bpffs, &nowhere), &[], &["run"])?;
    assert_eq!(refused.status.code(), Some(FAILED), "{}", text(&refused));
    assert!(text(&refused).contains("mount -t bpf"), "{}", text(&refused));

    for (dropped, named) in
        [("-all", "CAP_BPF"), ("-net_raw", "CAP_NET_RAW"), ("-net_admin", "CAP_NET_ADMIN")]
    {
        let without = ["setpriv", "--bounding-set", dropped];
        let refused = once(&stage.lab, &usual, &without, &["run"])?;
        assert_eq!(refused.status.code(), Some(FAILED), "{dropped}: {}", text(&refused));
        assert!(text(&refused).contains(named), "{dropped}: {}", text(&refused));
    }
    let other = bpffs.replace("ingress-", "ingress-x-");
    let used = usual.replace(&bpffs, &other).replace("127.0.0.1:9469", "203.0.113.99:9469");
    let refused = once(&stage.lab, &used, &[], &["run"])?;
    let links = fs::read_dir(format!("{other}/v{ABI}/links")).map(Iterator::count);
    let _ = fs::remove_dir_all(other);
    assert!(links.is_err() || links.is_ok_and(|links| links == 0), "programs without a daemon");
    assert_eq!(refused.status.code(), Some(FAILED), "{}", text(&refused));
    assert!(text(&refused).contains("203.0.113.99:9469"), "{}", text(&refused));
    stage.daemon_mut()?.resume()
}

/// Also one that nothing moves on: its ends are made to say where they stand, and reset exactly there.
#[test]
fn a_flow_is_killed_on_request() -> Result<()> {
    let stage = stage();
    let (mut client, port) = stage.lab.client.enter(|| -> Result<_> {
        let mut client = TcpStream::connect((VPS4, 443))?;
        client.set_read_timeout(Some(SOON))?;
        client.write_all(&Hello::for_name(WWW).bytes())?;
        let port = client.local_addr()?.port();
        Ok((client, port))
    })??;
    assert_ne!(client.read(&mut [0; 16_384])?, 0, "the server's answer");
    thread::sleep(Duration::from_millis(300));
    let killed = stage.daemon()?.ctl(&["flows", "--client", &CLIENT4.to_string(), "kill"])?;
    assert!(killed.status.success(), "{}", text(&killed));
    let ended = client.read(&mut [0; 16_384]).map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
    wait_until(SOON, "the server has heard of it, too", || {
        let mut sockets = stage.lab.www.command("ss").expect("a namespace");
        sockets.args(["-Htn", "state", "established", "dport", "=", &format!(":{port}")]);
        process::output(&mut sockets).is_ok_and(|sockets| sockets.is_empty())
    })
}

fn catches_hang_up(status: &str) -> Result<bool> {
    let status = fs::read_to_string(status)?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).context("SigCgt")?;
    Ok(u64::from_str_radix(caught.trim(), 16)? & 1 << (Signal::SIGHUP as i32 - 1) != 0)
}

/// How a request to the second listed port ends.
fn second_port(stage: &Stage) -> Result<(i64, String)> {
    let curl = Curl::by_name_and_port(&stage.lab, &stage.certificate, WWW, 8443, "/")?;
    let answer = curl.args(&["--max-time", "3"]).run()?;
    Ok((answer.exit_code(), answer.error().to_owned()))
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
