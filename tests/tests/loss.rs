//! Networks that lose, double and reorder packets: slower, but nothing is missing or wrong.

use anyhow::{Context, Result, bail};
use ingress_tests::addresses::{VPS4, WWW, WWW6};
use ingress_tests::client::{Curl, random_file, same_content};
use ingress_tests::impair::{Impaired, Impairment, Wire};
use ingress_tests::paths::SingleSegments;
use ingress_tests::shared::{Stage, stage};
use std::ops::Range;
use std::path::Path;

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

/// The splice changes numbers, not what the ends make of the losses.
#[test]
fn no_more_is_sent_again_than_over_ipv6() -> Result<()> {
    let stage = stage();
    let file = stage.web.root().join("again.bin");
    random_file(&file, 4)?;
    let _single = SingleSegments::from(&[(&stage.lab.client, "eth0"), (&stage.lab.www, "eth0")])?;
    // A busy machine makes transfers look bad.
    for seeds in [0..4, 4..8, 8..12] {
        let [by_name, direct] = usually_sent_again(&stage, &file, seeds)?;
        assert!(direct > 20, "the line is too good: {direct}");
        if by_name < direct * 3 / 2 {
            return Ok(());
        }
    }
    bail!("more is sent again by name than over IPv6, again and again")
}

/// The median of transfers by name, and of as many over IPv6.
fn usually_sent_again(stage: &Stage, file: &Path, seeds: Range<u64>) -> Result<[u64; 2]> {
    let (mut by_name, mut direct) = (Vec::new(), Vec::new());
    for seed in seeds {
        // What is reordered is sent again or not by chance, many times as often as what is lost.
        let lossy = Impairment { seed, reorder: 0.0, ..BAD };
        let _impaired = Impaired::start(&stage.lab, Wire::Client, &lossy)?;
        for (counts, over_ipv6) in [(&mut by_name, false), (&mut direct, true)] {
            let request = |path: &str| match over_ipv6 {
                true => Curl::direct(&stage.lab, &stage.certificate, WWW, WWW6, path),
                false => stage.by_name(WWW, path),
            };
            let begin = sent_again(stage)?;
            let down = request("/again.bin")?.run()?;
            let middle = sent_again(stage)?;
            let up = request("/again-up.bin")?.upload(file).run()?;
            counts.extend([middle - begin, sent_again(stage)? - middle]);
            assert_eq!(
                (down.exit_code(), up.exit_code()),
                (0, 0),
                "{} {}",
                down.error(),
                up.error()
            );
            std::fs::remove_file(down.body)?;
        }
    }
    std::fs::remove_file(stage.web.root().join("again-up.bin"))?;
    println!("sent again: {by_name:?} segments by name, {direct:?} over IPv6");
    Ok([by_name, direct].map(|mut counts| {
        counts.sort_unstable();
        counts[counts.len() / 2]
    }))
}

/// Segments that both ends have sent more than once.
fn sent_again(stage: &Stage) -> Result<u64> {
    let [client, www] =
        [&stage.lab.client, &stage.lab.www].map(|end| end.tcp_counter("RetransSegs"));
    Ok(client? + www?)
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
