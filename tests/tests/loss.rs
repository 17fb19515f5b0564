//! Networks that lose, double and reorder packets: slower, but nothing is missing or wrong.

use anyhow::{Context, Result};
use ingress_tests::addresses::{VPS4, WWW};
use ingress_tests::client::{random_file, same_content};
use ingress_tests::impair::{Impaired, Impairment, Wire};
use ingress_tests::shared::{Stage, stage};

const BAD: Impairment =
    Impairment { seed: 1, loss: 0.02, duplicate: 0.01, reorder: 0.02, delay: 1 };

/// Enough of them that every packet of a handshake is hit.
const CONNECTIONS: u32 = 40;

#[test]
fn handshakes_survive_a_bad_line_at_the_client() -> Result<()> {
    handshakes(&stage(), Wire::Client)
}

#[test]
fn handshakes_survive_a_bad_line_at_home() -> Result<()> {
    handshakes(&stage(), Wire::Home)
}

#[test]
fn transfers_survive_a_bad_line_at_the_client() -> Result<()> {
    transfers(&stage(), Wire::Client)
}

#[test]
fn transfers_survive_a_bad_line_at_home() -> Result<()> {
    transfers(&stage(), Wire::Home)
}

#[test]
fn the_line_is_as_bad_as_it_claims() -> Result<()> {
    let stage = stage();
    let bad = Impairment { seed: 7, loss: 0.2, duplicate: 0.1, reorder: 0.1, delay: 2 };
    let _impaired = Impaired::start(&stage.lab, Wire::Client, &bad)?;
    let ping = stage
        .lab
        .client
        .command("ping")?
        .args(["-n", "-c", "300", "-i", "0.004", "-W", "1", &VPS4.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&ping.stdout);
    let summary =
        text.lines().find(|line| line.contains("packets transmitted")).context("no summary")?;
    let percent: f64 = summary
        .split_whitespace()
        .find_map(|word| word.strip_suffix('%'))
        .context("no percentage")?
        .parse()?;
    // Lost on the way there or back: 36 % expected.
    assert!((25.0..47.0).contains(&percent), "{summary}");
    assert!(summary.contains("duplicates"), "{summary}");
    Ok(())
}

fn handshakes(stage: &Stage, wire: Wire) -> Result<()> {
    let terrible = Impairment { loss: 0.1, duplicate: 0.1, reorder: 0.2, ..BAD };
    let _impaired = Impaired::start(&stage.lab, wire, &terrible)?;
    let running: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            Ok(stage.by_name(WWW, &format!("/?loss={n}"))?.args(&["--max-time", "40"]).start())
        })
        .collect::<Result<_>>()?;
    for (n, curl) in running.into_iter().enumerate() {
        let answer = curl.join().expect("no panic").with_context(|| format!("connection {n}"))?;
        assert_eq!(answer.exit_code(), 0, "connection {n}: {}", answer.error());
        assert_eq!(answer.status(), 200, "connection {n}");
    }
    Ok(())
}

fn transfers(stage: &Stage, wire: Wire) -> Result<()> {
    let file = stage.web.root().join("lossy.bin");
    if !file.exists() {
        random_file(&file, 8)?;
    }
    let _impaired = Impaired::start(&stage.lab, wire, &BAD)?;
    let down = stage.by_name(WWW, "/lossy.bin")?.start();
    let up = stage.by_name(WWW, "/lossy-up.bin")?.upload(&file).start();
    let (down, up) = (down.join().expect("no panic")?, up.join().expect("no panic")?);
    assert_eq!(down.exit_code(), 0, "{}", down.error());
    assert!(same_content(&down.body, &file)?, "what came is not what was sent");
    assert_eq!(up.exit_code(), 0, "{}", up.error());
    let stored = stage.web.root().join("lossy-up.bin");
    assert!(same_content(&stored, &file)?, "what was stored is not what was sent");
    std::fs::remove_file(stored)?;
    Ok(())
}
