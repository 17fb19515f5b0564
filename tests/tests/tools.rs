//! `ingressctl` against a daemon at work: what it prints, in each form, and how it ends.

use anyhow::{Context, Result, bail};
use ingress_common::maps::ABI;
use ingress_tests::addresses::{DB, UNKNOWN, WWW};
use ingress_tests::cleanup;
use ingress_tests::client::{Answer, random_file};
use ingress_tests::daemon::{config, ingressctl, once};
use ingress_tests::process::{Process, wait_until};
use ingress_tests::shared::{Stage, stage};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(5);

/// Downloads that last for some seconds, in the daemon's hands no more.
fn slow(stage: &Stage, count: usize) -> Result<Vec<JoinHandle<Result<Answer>>>> {
    random_file(&stage.web.root().join("tools.bin"), 2)?;
    let slow = (0..count)
        .map(|_| Ok(stage.by_name(WWW, "/slow/tools.bin")?.args(&["--max-time", "30"]).start()))
        .collect::<Result<Vec<_>>>()?;
    let daemon = stage.daemon()?;
    wait_until(SOON, "the flows are there", || {
        daemon.flows().is_ok_and(|flows| open(&flows).len() >= count)
    })?;
    Ok(slow)
}

fn open(flows: &[Value]) -> Vec<&Value> {
    flows.iter().filter(|flow| flow["state"] == "established").collect()
}

fn end(stage: &Stage, slow: Vec<JoinHandle<Result<Answer>>>) -> Result<()> {
    stage.daemon()?.ctl(&["flows", "kill", "--all"])?;
    for one in slow {
        let _ = one.join().expect("no panic")?;
    }
    Ok(())
}

#[test]
fn flows_are_filtered_sorted_and_printed_in_each_form() -> Result<()> {
    let stage = stage();
    let slow = slow(&stage, 2)?;
    let daemon = stage.daemon()?;
    let rows = |args: &[&str]| -> Result<Vec<Value>> {
        let output = daemon.ctl(&[&["flows", "-o", "ndjson"], args].concat())?;
        let lines = String::from_utf8(output.stdout)?;
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    };
    let established = ["--state", "established"];
    let all = rows(&established)?;
    assert!(all.len() >= 2, "{all:#?}");
    for (filter, some) in [
        (["--host", WWW], true),
        (["--host", "*.example.test"], true),
        (["--host", "example.test"], false),
        (["--client", "192.0.2.0/24"], true),
        (["--client", "192.0.3.0/24"], false),
        (["--backend", "2001:db8:1:0:1::80"], true),
        (["--site", "home"], true),
        (["--site", "office"], false),
    ] {
        let found = rows(&[&established[..], &filter[..]].concat())?;
        assert_eq!(!found.is_empty(), some, "{filter:?}: {found:#?}");
    }
    for key in ["age", "idle", "bytes", "packets", "host", "client", "backend", "site", "state"] {
        assert!(!rows(&["--sort", key])?.is_empty(), "{key}");
    }
    let bytes = |flow: &Value| {
        flow["bytes_in"].as_u64().unwrap_or(0) + flow["bytes_out"].as_u64().unwrap_or(0)
    };
    let sorted: Vec<u64> = rows(&["--sort", "bytes"])?.iter().map(bytes).collect();
    assert!(sorted.is_sorted_by(|a, b| a >= b), "{sorted:?}");
    let table = text(&daemon.ctl(&["flows"])?);
    assert!(table.starts_with("CLIENT") && table.contains(WWW), "{table}");
    assert!(!table.contains('\x1b'), "colours in a pipe");
    end(&stage, slow)
}

#[test]
fn flows_are_watched_and_killed() -> Result<()> {
    let stage = stage();
    let slow = slow(&stage, 1)?;
    let daemon = stage.daemon()?;
    let log = stage.lab.dir().join("watch.ndjson");
    let _ = fs::remove_file(&log);
    let mut watch = ingressctl(&stage.lab.vps, daemon.socket())?;
    watch.args(["flows", "--watch=1", "--state", "established", "-o", "ndjson"]);
    let mut watch = Process::spawn(&mut watch, &log)?;
    let printed = || -> Result<BTreeSet<Option<u64>>> {
        let text = fs::read_to_string(&log)?;
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let flow = |line| Ok(serde_json::from_str::<Value>(line)?["bytes_out"].as_u64());
        whole.lines().map(flow).collect()
    };
    wait_until(SOON, "the bytes grow from line to line", || {
        printed().is_ok_and(|bytes| bytes.len() >= 2)
    })?;
    watch.signal(Signal::SIGTERM);
    let _ = watch.wait(SOON)?;

    let port = daemon.flows()?.iter().find_map(|flow| Some(flow["client"].as_str()?.to_owned()));
    assert!(port.is_some());
    let killed = text(&daemon.ctl(&["flows", "kill", "--host", WWW])?);
    assert!(killed.contains("ended"), "{killed}");
    let again: Value = daemon.ctl_json(&["flows", "kill", "--host", WWW])?;
    assert_eq!(again["flows"], 0, "{again}");
    let closed = daemon.ctl_json(&["stats"])?;
    assert!(count(&closed["flows_closed"], "killed")? >= 1, "{closed}");
    end(&stage, slow)
}

#[test]
fn top_shows_rates() -> Result<()> {
    let stage = stage();
    let slow = slow(&stage, 2)?;
    let daemon = stage.daemon()?;
    let output = daemon.ctl(&["top", "-o", "json", "--interval", "3", "--count", "2"])?;
    let lines = String::from_utf8(output.stdout)?;
    let views: Vec<Value> =
        lines.lines().map(serde_json::from_str).collect::<Result<_, _>>().context(lines.clone())?;
    assert_eq!(views.len(), 2, "one an interval");
    let view = &views[1];
    assert_eq!(view["version"], 1);
    let host = view["hosts"].as_array().and_then(|hosts| hosts.first()).context("no host")?;
    assert_eq!(host["host"], WWW, "{view:#}");
    // nginx sends 100 kB/s to each, in bursts.
    let rate = host["bytes_out_per_second"].as_f64().context("no rate")?;
    assert!((100e3..600e3).contains(&rate), "{rate}");
    let site = &view["sites"][0];
    assert_eq!(site["name"], "home");
    assert!(site["bytes_out_per_second"].as_f64().is_some_and(|rate| rate > 100e3), "{site}");
    assert!(site["last_handshake_timestamp_seconds"].is_u64(), "{site}");
    assert_eq!(view["flows"][0]["host"], WWW);
    let text = text(&daemon.ctl(&["top", "-d", "1", "-n", "1"])?);
    for needed in ["ingressd ", "PATH", "nat46", "HOST", WWW, "192.0.2.2:", "spliced", "kB/s"] {
        assert!(text.contains(needed), "{needed} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    end(&stage, slow)
}

#[test]
fn top_on_a_terminal_leaves_it_as_it_was() -> Result<()> {
    let stage = stage();
    let ctl = ingressctl(&stage.lab.vps, stage.daemon()?.socket())?;
    let words: Vec<String> = std::iter::once(ctl.get_program())
        .chain(ctl.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let pid = stage.lab.dir().join("top.pid");
    let script = format!("stty cols 80 rows 24; echo $$ > {}; exec \"$@\"", pid.display());
    let line = format!("sh -c '{script}' sh {} top -d 1", words.join(" "));
    for end in ["printf q".to_owned(), format!("kill -TERM $(cat {})", pid.display())] {
        // `script` makes a terminal, and hands on what is typed.
        let run = format!("(sleep 2; {end}; sleep 1) | script -qec \"$0\" /dev/null");
        let mut terminal = stage.lab.vps.command("timeout")?;
        let output =
            terminal.args(["20", "sh", "-c", &run]).arg(&line).env("TERM", "xterm").output()?;
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{end}: {shown}");
        assert!(shown.contains("\x1b[?1049h") && shown.contains("\x1b[?1049l"), "{end}: {shown:?}");
        assert!(shown.contains("ingressd") && shown.contains("HANDSHAKE"), "{end}: {shown:?}");
    }
    Ok(())
}

#[test]
fn status_tells_the_truth() -> Result<()> {
    let mut stage = stage();
    let status = stage.daemon()?.ctl_json(&["status"])?;
    let age = status["heartbeat_age_seconds"].as_f64().context("no age")?;
    assert!(age > 0.0 && age < 3.0, "{age}");
    let heard = status["sites"][0]["last_handshake_timestamp_seconds"].as_u64().context("never")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    assert!(now.saturating_sub(heard) < 180, "{heard} {now}");
    let size = status["flow_table"]["max_entries"].as_u64().context("no size")?;

    let usual = config(&stage.lab);
    let other = usual.replace("[daemon]", "[daemon]\nflows = 77");
    let log = fs::metadata(stage.daemon()?.log())?.len();
    stage.daemon_mut()?.stop()?;
    stage.daemon()?.configure(&other)?;
    stage.daemon_mut()?.resume()?;
    let status = stage.daemon()?.ctl_json(&["status"])?;
    assert_eq!(status["flow_table"]["max_entries"], size, "a pinned table keeps its size");
    let said = fs::read(stage.daemon()?.log())?;
    let said = String::from_utf8_lossy(&said[usize::try_from(log)?..]).into_owned();
    assert!(said.contains("flows = 77 has no effect"), "{said}");
    assert!(said.contains(&format!("room for {size}")) && said.contains("ingressd detach"));
    assert!(!said.contains('\x1b'), "colours in a file");
    stage.daemon_mut()?.stop()?;
    stage.daemon()?.configure(&usual)?;
    stage.daemon_mut()?.resume()
}

#[test]
fn a_full_table_is_an_outcome_of_its_own() -> Result<()> {
    let mut stage = stage();
    let usual = config(&stage.lab);
    stage.disturbed = true;
    stage.daemon_mut()?.stop()?;
    once(&stage.lab, &usual, &[], &["detach"])?;
    stage.daemon()?.configure(&usual.replace("[daemon]", "[daemon]\nflows = 1"))?;
    stage.daemon_mut()?.resume()?;
    let first = slow(&stage, 1)?;
    let second = stage.by_name(WWW, "/?full")?.args(&["--max-time", "5"]).run()?;
    let stats = stage.daemon()?.ctl_json(&["stats"])?;
    let status = stage.daemon()?.ctl_json(&["status"])?;
    end(&stage, first)?;
    stage.daemon_mut()?.stop()?;
    once(&stage.lab, &usual, &[], &["detach"])?;
    assert!(!cleanup::bpffs(stage.lab.id()).join(format!("v{ABI}")).exists());
    stage.daemon()?.configure(&usual)?;
    stage.daemon_mut()?.resume()?;
    stage.disturbed = false;
    assert_ne!(second.exit_code(), 0, "there is no room");
    assert_eq!(status["flow_table"]["max_entries"], 1, "{status}");
    assert_eq!(count(&stats["handshakes"], "table_full")?, 1, "{stats}");
    assert_eq!(count(&stats["handshakes"], "spliced")?, 1, "{stats}");
    Ok(())
}

#[test]
fn a_flood_of_refusals_is_not_a_flood_of_lines() -> Result<()> {
    let stage = stage();
    let daemon = stage.daemon()?;
    let log = fs::metadata(daemon.log())?.len();
    let before = count(&daemon.ctl_json(&["stats"])?["handshakes"], "unknown_name")?;
    let asks: Vec<_> = (0..60)
        .map(|_| Ok(stage.by_name(UNKNOWN, "/")?.args(&["--max-time", "30"]).start()))
        .collect::<Result<_>>()?;
    for ask in asks {
        let _ = ask.join().expect("no panic")?;
    }
    let said = fs::read(daemon.log())?;
    let said = String::from_utf8_lossy(&said[usize::try_from(log)?..]).into_owned();
    let lines = said.lines().filter(|line| line.contains("outcome=\"unknown_name\"")).count();
    let stats = daemon.ctl_json(&["stats"])?;
    assert!(count(&stats["handshakes"], "unknown_name")? >= before + 60, "all are counted");
    assert!((1..60).contains(&lines), "{lines} lines");
    thread::sleep(Duration::from_secs(1));
    stage.by_name(DB, "/")?.args(&["--max-time", "2"]).run()?;
    stage.by_name(UNKNOWN, "/")?.args(&["--max-time", "2"]).run()?;
    let said = fs::read_to_string(daemon.log())?;
    assert!(said.contains("more refusals were not logged"));
    Ok(())
}

#[test]
fn each_failure_has_its_code() -> Result<()> {
    let stage = stage();
    let daemon = stage.daemon()?;
    for (args, code) in [
        (&["status"][..], 0),
        (&["stats", "-o", "ndjson"], 0),
        (&["drops", "-o", "ndjson"], 0),
        (&["dns", "-o", "json"], 0),
        (&["dns", "--flush"], 0),
        (&["explain", UNKNOWN], 1),
        (&["flows", "kill"], 2),
        (&["top", "--interval", "0"], 2),
    ] {
        let output = daemon.ctl(args)?;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
    }
    for args in [&["status"][..], &["flows"], &["top", "-n", "1", "-o", "json"]] {
        let mut ctl = ingressctl(&stage.lab.vps, Path::new("/none/such.sock"))?;
        assert_eq!(ctl.args(args).output()?.status.code(), Some(69), "{args:?}");
    }
    let mut nobody = stage.lab.vps.command("setpriv")?;
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let ctl = ingressctl(&stage.lab.vps, daemon.socket())?;
    // What nobody may read, nobody can start; a copy can.
    let copy = stage.lab.dir().join("ingressctl");
    fs::copy(ctl.get_program(), &copy)?;
    let public = std::env::temp_dir().join(format!("ingressctl-{}", stage.lab.id()));
    fs::copy(&copy, &public)?;
    let output = nobody.arg(&public).args(ctl.get_args()).arg("status").output();
    fs::remove_file(&public)?;
    let output = output?;
    assert_eq!(output.status.code(), Some(77), "{}", text(&output));
    for shell in ["bash", "zsh", "fish"] {
        let script = daemon.ctl(&["completions", shell])?;
        assert!(script.status.success() && script.stdout.len() > 1000, "{shell}");
        if shell == "bash" {
            let file = stage.lab.dir().join("completion.bash");
            fs::write(&file, &script.stdout)?;
            let check = format!(
                ". {}; COMP_WORDS=(ingressctl fl); COMP_CWORD=1; _ingressctl ingressctl fl ingressctl; echo ${{COMPREPLY[@]}}",
                file.display()
            );
            let output = Command::new("bash").args(["-c", &check]).output()?;
            assert_eq!(text(&output).trim(), "flows");
        }
    }
    Ok(())
}

fn count(counts: &Value, name: &str) -> Result<u64> {
    let Some(rows) = counts.as_array() else { bail!("no counts: {counts}") };
    let row = rows.iter().find(|row| row["name"] == name).with_context(|| format!("no {name}"))?;
    row["count"].as_u64().context("no number")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
