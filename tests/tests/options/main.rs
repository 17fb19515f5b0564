//! Timestamps, SACK, window scale and MSS, switched on and off at either end: bytes arrive whole, both ends use
//! what both ends have, and a port promises no more than its backends keep.

mod ends;
mod watched;

use anyhow::{Context, Result};
use ends::{Ends, PAIRS, Tuned, USUAL, pair, send_again_within_a_second};
use ingress_tests::addresses::{VPS4, WWW};
use ingress_tests::client::{random_file, same_content};
use ingress_tests::impair::{Impaired, Impairment, Wire};
use ingress_tests::netns::Namespace;
use ingress_tests::process::wait_until;
use ingress_tests::shared::{Stage, stage};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use watched::{Watch, Watched};

const MEGABYTES: usize = 3;
const BAD: Impairment =
    Impairment { seed: 3, loss: 0.02, duplicate: 0.02, reorder: 0.02, delay: 1 };

/// curl's exit codes.
const TLS_FAILED: i64 = 35;
const RECEIVE_FAILED: i64 = 56;

#[test]
fn every_combination_carries_bytes() -> Result<()> {
    let stage = stage();
    for nth in 0..PAIRS {
        let pair = pair(nth);
        let late = paws(&stage.lab.client)? + paws(&stage.lab.www)?;
        for watched in carry(&stage, pair).with_context(|| format!("{pair:?}"))? {
            let [client, backend] = pair;
            watched.check_timestamps(client.timestamps && backend.timestamps);
            watched.check_windows().with_context(|| format!("{pair:?}"))?;
            let syn = watched.syn_at_backend()?;
            assert_eq!(syn.option(3).map(|value| value[0]), client.scale, "{pair:?}");
        }
        let late = paws(&stage.lab.client)? + paws(&stage.lab.www)? - late;
        // Two CPUs may let one segment overtake another.
        assert!(late < 10, "{late} segments with an old timestamp: {pair:?}");
    }
    Ok(())
}

#[test]
fn bad_lines_at_the_client_with_every_choice_of_timestamps_and_sack() -> Result<()> {
    bad_lines(Wire::Client)
}

#[test]
fn bad_lines_at_home_with_every_choice_of_timestamps_and_sack() -> Result<()> {
    bad_lines(Wire::Home)
}

#[test]
fn a_backend_without_timestamps_costs_one_reset() -> Result<()> {
    let mut stage = stage();
    stage.daemon()?.ctl(&["reload"])?;
    let lacking = Ends { timestamps: false, sack: false, ..USUAL };
    {
        let _tuned = Tuned::new(&stage.lab, [USUAL, lacking])?;
        let first = stage.by_name(WWW, "/?first")?.run()?;
        assert!([TLS_FAILED, RECEIVE_FAILED].contains(&first.exit_code()), "{}", first.error());
        let second = stage.by_name(WWW, "/?second")?.run()?;
        assert_eq!(second.status(), 200, "{}", second.error());
    }
    for (what, port) in [("withdrawn", 443), ("yes", 8443)] {
        let row = listen_row(&stage, port)?;
        assert_eq!((row["timestamps"].as_str(), row["sack"].as_str()), (Some(what), Some(what)));
    }
    let table = stage.daemon()?.ctl(&["status"])?;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("443 tls, no timestamps and SACK: a backend lacks it"), "{table}");
    let stats = stage.daemon()?.ctl_json(&["stats"])?;
    let ended = stats["handshakes"].as_array().context("no handshakes")?;
    assert!(
        ended.iter().any(|row| row["name"] == "backend_without_timestamps"
            && row["count"].as_u64().is_some_and(|count| count > 0)),
        "{stats}"
    );

    // The next daemon knows it, too.
    stage.daemon_mut()?.stop()?;
    stage.daemon_mut()?.resume()?;
    assert_eq!(listen_row(&stage, 443)?["timestamps"], "withdrawn");
    // Until the operator has mended it.
    stage.daemon()?.ctl(&["reload"])?;
    assert_eq!(listen_row(&stage, 443)?["timestamps"], "yes");
    let [down, up] = &carry(&stage, [USUAL, USUAL])?[..] else { unreachable!("two transfers") };
    down.check_timestamps(true);
    up.check_timestamps(true);
    Ok(())
}

/// A client that was promised SACK waits for blocks that never come, and may find its losses later than it would.
/// Nothing is lost by it, and the next client is promised none.
#[test]
fn a_backend_without_sack_is_learned_of_and_nothing_is_lost() -> Result<()> {
    let stage = stage();
    let file = some_file(&stage)?;
    let _tuned = Tuned::new(&stage.lab, [USUAL, Ends { sack: false, ..USUAL }])?;
    stage.daemon()?.ctl(&["reload"])?;
    let lossy = Impairment { seed: 11, loss: 0.01, duplicate: 0.0, reorder: 0.0, delay: 1 };
    let _impaired = Impaired::start(&stage.lab, Wire::Client, &lossy)?;
    for promised in [true, false] {
        let before = stage.lab.client.tcp_counter("TCPTimeouts")?;
        let watch = Watch::start(&stage.lab)?;
        let begun = std::time::Instant::now();
        let up = stage.by_name(WWW, "/options-up.bin")?.upload(&file).run()?;
        let took = begun.elapsed();
        let watched = watch.stop(&[up.local_port()])?;
        assert_eq!(up.exit_code(), 0, "{}", up.error());
        let stored = stage.web.root().join("options-up.bin");
        assert!(same_content(&stored, &file)?, "what was stored is not what was sent");
        std::fs::remove_file(stored)?;
        assert_eq!(watched[0].syn_ack_at_client()?.option(4).is_some(), promised);
        let timeouts = stage.lab.client.tcp_counter("TCPTimeouts")? - before;
        println!("promised SACK: {promised}, {took:?}, {timeouts} timeouts");
    }
    assert_eq!(listen_row(&stage, 443)?["sack"], "withdrawn");
    Ok(())
}

#[test]
fn the_operator_may_want_none() -> Result<()> {
    let mut stage = stage();
    let config = ingress_tests::daemon::config(&stage.lab);
    stage.disturbed = true;
    let without =
        config.replace("protocol = \"tls\"\n", "protocol = \"tls\"\ntimestamps = false\n");
    stage.daemon()?.configure(&without)?;
    stage.daemon()?.ctl(&["reload"])?;
    let watch = Watch::start(&stage.lab)?;
    let answer = stage.by_name(WWW, "/?none")?.run()?;
    let watched = watch.stop(&[answer.local_port()])?;
    stage.daemon()?.configure(&config)?;
    let row = listen_row(&stage, 443)?;
    stage.daemon()?.ctl(&["reload"])?;
    stage.disturbed = false;
    assert_eq!(answer.status(), 200, "{}", answer.error());
    assert_eq!(row["timestamps"], "off");
    watched[0].check_timestamps(false);
    Ok(())
}

fn bad_lines(wire: Wire) -> Result<()> {
    let mut stage = stage();
    send_again_within_a_second(&mut stage)?;
    for nth in 0..PAIRS {
        let pair = pair(nth).map(|ends| Ends { scale: USUAL.scale, ..ends });
        // Both have timestamps, or the client has none.
        if nth & 3 == 0 || nth % 6 == 1 {
            let _impaired = Impaired::start(&stage.lab, wire, &BAD)?;
            for watched in carry(&stage, pair).with_context(|| format!("{pair:?}"))? {
                watched.check_timestamps(pair.iter().all(|ends| ends.timestamps));
            }
        }
    }
    Ok(())
}

/// Some megabytes down and up, watched. The port promises everything when this begins.
fn carry(stage: &Stage, pair: [Ends; 2]) -> Result<Vec<Watched>> {
    let file = some_file(stage)?;
    let _tuned = Tuned::new(&stage.lab, pair)?;
    stage.daemon()?.ctl(&["reload"])?;
    let [client, backend] = pair;
    if client.timestamps && !backend.timestamps {
        let first = stage.by_name(WWW, "/?first")?.run()?;
        assert!([TLS_FAILED, RECEIVE_FAILED].contains(&first.exit_code()), "{}", first.error());
    }
    let watch = Watch::start(&stage.lab)?;
    let down = stage.by_name(WWW, "/options.bin")?.run()?;
    let up = stage.by_name(WWW, "/options-up.bin")?.upload(&file).run()?;
    assert_eq!(down.exit_code(), 0, "{pair:?}: {}", down.error());
    assert!(same_content(&down.body, &file)?, "what came is not what was sent: {pair:?}");
    assert_eq!(up.exit_code(), 0, "{pair:?}: {}", up.error());
    let stored = stage.web.root().join("options-up.bin");
    assert!(same_content(&stored, &file)?, "what was stored is not what was sent: {pair:?}");
    std::fs::remove_file(stored)?;
    std::fs::remove_file(&down.body)?;
    watch.stop(&[down.local_port(), up.local_port()])
}

fn some_file(stage: &Stage) -> Result<PathBuf> {
    let file = stage.web.root().join("options.bin");
    if !file.exists() {
        random_file(&file, MEGABYTES)?;
    }
    Ok(file)
}

/// Segments that a machine has dropped for an old timestamp.
fn paws(machine: &Namespace) -> Result<u64> {
    machine.tcp_counter("PAWSEstab")
}

/// What `status` says of a port of the VPS.
fn listen_row(stage: &Stage, port: u16) -> Result<Value> {
    let address = format!("{VPS4}:{port}");
    let mut row = None;
    wait_until(Duration::from_secs(3), "the daemon answers", || {
        row = stage.daemon().and_then(|daemon| daemon.ctl_json(&["status"])).ok().and_then(
            |status| {
                let rows = status["listen"].as_array()?.clone();
                rows.into_iter().find(|row| row["address"] == address)
            },
        );
        row.is_some()
    })?;
    row.context("just seen")
}
