//! The metrics as a real Prometheus sees them, the alert rules and the dashboard that are made for them,
//! and the status page beside them.

use anyhow::{Context, Result};
use ingress_tests::addresses::{UNKNOWN, WWW};
use ingress_tests::client::random_file;
use ingress_tests::daemon::METRICS;
use ingress_tests::process::{self, Process, wait_until};
use ingress_tests::shared::{Stage, stage};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const PROMETHEUS: &str = "127.0.0.1:9090";

/// What INTERFACE promises, and what every name ends in.
const NAMES: [&str; 18] = [
    "ingress_packets_total",
    "ingress_bytes_total",
    "ingress_drops_total",
    "ingress_flows",
    "ingress_flow_table_entries",
    "ingress_flow_table_max_entries",
    "ingress_flows_opened_total",
    "ingress_flows_closed_total",
    "ingress_syn_cookies_total",
    "ingress_handshake_seconds_bucket",
    "ingress_handshakes_total",
    "ingress_dns_lookups_total",
    "ingress_dns_lookup_seconds_bucket",
    "ingress_peer_last_handshake_timestamp_seconds",
    "ingress_tunnel_mtu_bytes",
    "ingress_config_last_reload_successful",
    "ingress_build_info",
    "ingress_handshake_seconds_count",
];

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib")
}

fn get(stage: &Stage, url: &str) -> Result<String> {
    let mut curl = stage.lab.vps.command("curl")?;
    process::output(curl.args(["--silent", "--show-error", "--fail", url]))
}

fn scrape(stage: &Stage) -> Result<String> {
    get(stage, &format!("http://{METRICS}/metrics"))
}

#[test]
fn promtool_has_nothing_to_say() -> Result<()> {
    let stage = stage();
    let file = stage.lab.dir().join("metrics.txt");
    fs::write(&file, scrape(&stage)?)?;
    let mut promtool = Command::new("promtool");
    let output = promtool.args(["check", "metrics"]).stdin(fs::File::open(&file)?).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn every_name_is_there_and_every_value_from_the_start() -> Result<()> {
    let stage = stage();
    let text = scrape(&stage)?;
    let names = names(&text);
    for name in NAMES {
        assert!(names.contains(name), "{name} is missing in\n{text}");
    }
    for series in [
        "ingress_handshakes_total{outcome=\"table_full\"}",
        "ingress_handshakes_total{outcome=\"no_name\"}",
        "ingress_drops_total{reason=\"daemon_away\"}",
        "ingress_flows_closed_total{cause=\"killed\"}",
        "ingress_syn_cookies_total{result=\"rejected\"}",
        "ingress_dns_lookups_total{result=\"timeout\"}",
        "ingress_flows{protocol=\"postgres\",state=\"handshake\"}",
        "ingress_packets_total{path=\"ipv6\",direction=\"out\"}",
        "ingress_tunnel_mtu_bytes{site=\"home\"} 1420",
        "ingress_config_last_reload_successful 1",
    ] {
        assert!(text.lines().any(|line| line.starts_with(series)), "{series} in\n{text}");
    }
    assert!(!text.contains("192.0.2."), "no client's address is a label");
    assert!(!text.contains("example.test"), "no name is a label");
    Ok(())
}

#[test]
fn rules_and_dashboard_know_the_names() -> Result<()> {
    let stage = stage();
    let rules = contrib().join("prometheus");
    for (command, file) in [("check", "ingress.rules.yml"), ("test", "ingress.rules.test.yml")] {
        let mut promtool = Command::new("promtool");
        process::output(promtool.current_dir(&rules).args([command, "rules", file]))?;
    }
    let scraped = scrape(&stage)?;
    let known = names(&scraped);
    let rules = fs::read_to_string(rules.join("ingress.rules.yml"))?;
    let dashboard = fs::read_to_string(contrib().join("grafana/ingress.json"))?;
    serde_json::from_str::<Value>(&dashboard)?;
    for text in [&rules, &dashboard] {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let metric = word.starts_with("ingress_") && word.contains('_');
            assert!(!metric || known.contains(word), "{word} is no metric");
        }
    }
    let runbooks = contrib().join("../docs/runbooks.md");
    let runbooks = fs::read_to_string(runbooks)?;
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(runbooks.contains(&format!("\n## {alert}\n")), "no section for {alert}");
        let link = format!("docs/runbooks.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&link), "no link to {alert}");
    }
    Ok(())
}

#[test]
fn a_real_prometheus_scrapes_and_answers() -> Result<()> {
    let stage = stage();
    let dir = stage.lab.dir().join("prometheus");
    fs::create_dir_all(&dir)?;
    let file = dir.join("prometheus.yml");
    let rules = contrib().join("prometheus/ingress.rules.yml").canonicalize()?;
    fs::write(
        &file,
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n  - job_name: ingress\n    static_configs: [{{targets: ['{METRICS}']}}]\n",
            rules.display()
        ),
    )?;
    let mut prometheus = stage.lab.vps.command("prometheus")?;
    prometheus
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address={PROMETHEUS}"))
        .stdin(Stdio::null());
    let prometheus = Process::spawn(&mut prometheus, &stage.lab.dir().join("prometheus.log"))?;
    wait_until(SOON, "the first scrape", || {
        query(&stage, "up{job=\"ingress\"}").is_ok_and(|found| found == [1.0])
    })
    .with_context(|| prometheus.log_tail())?;
    let before = query(&stage, "ingress_handshakes_total{outcome=\"spliced\"}")?;

    random_file(&stage.web.root().join("scraped.bin"), 1)?;
    assert_eq!(stage.by_name(WWW, "/scraped.bin")?.run()?.status(), 200);
    assert_ne!(stage.by_name(UNKNOWN, "/")?.run()?.exit_code(), 0);
    let more = format!("ingress_handshakes_total{{outcome=\"spliced\"}} > {}", before[0]);
    wait_until(SOON, "the handshake is counted", || {
        query(&stage, &more).is_ok_and(|found| found.len() == 1)
    })?;
    for (expression, least) in [
        ("ingress_bytes_total{path=\"nat46\",direction=\"out\"}", 1e6),
        ("ingress_handshakes_total{outcome=\"unknown_name\"}", 1.0),
        ("ingress_handshake_seconds_count", 1.0),
        ("ingress_peer_last_handshake_timestamp_seconds{site=\"home\"}", 1e9),
        ("ingress_flow_table_max_entries", 1.0),
        ("count(ingress_drops_total)", 18.0),
        ("count({__name__=~\"ingress_.*\"})", 60.0),
    ] {
        // A scrape may fall into the middle of the transfer.
        wait_until(SOON, expression, || {
            query(&stage, expression).is_ok_and(|found| found.len() == 1 && found[0] >= least)
        })?;
    }
    let page = get(&stage, &format!("http://{PROMETHEUS}/api/v1/rules"))?;
    let rules: Value = serde_json::from_str(&page)?;
    let rules = rules["data"]["groups"][0]["rules"].as_array().context("no rules")?.clone();
    assert!(rules.len() >= 13);
    for rule in &rules {
        assert_ne!(rule["health"], "err", "{rule:#}");
    }
    Ok(())
}

#[test]
fn the_status_page_shows_what_is_there() -> Result<()> {
    let stage = stage();
    assert_eq!(stage.by_name(WWW, "/?page")?.run()?.status(), 200);
    assert_ne!(stage.by_name(UNKNOWN, "/?page")?.run()?.exit_code(), 0);
    let page = get(&stage, &format!("http://{METRICS}/"))?;
    for needed in [WWW, UNKNOWN, "unknown name", "home", stage.lab.tunnel(), "tcx", "<svg"] {
        assert!(page.contains(needed), "{needed} in\n{page}");
    }
    let mut curl = stage.lab.vps.command("curl")?;
    let head = process::output(curl.args(["-sI", &format!("http://{METRICS}/")]))?;
    assert!(head.to_ascii_lowercase().contains("content-security-policy"), "{head}");
    Ok(())
}

/// The values that a query finds.
fn query(stage: &Stage, expression: &str) -> Result<Vec<f64>> {
    let mut curl = stage.lab.vps.command("curl")?;
    curl.args(["--silent", "--show-error", "--fail", "--get", "--data-urlencode"])
        .arg(format!("query={expression}"))
        .arg(format!("http://{PROMETHEUS}/api/v1/query"));
    let answer: Value = serde_json::from_str(&process::output(&mut curl)?)?;
    let found = answer["data"]["result"].as_array().context("no result")?;
    found.iter().map(|one| Ok(one["value"][1].as_str().context("no value")?.parse()?)).collect()
}

fn names(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).collect()
}
