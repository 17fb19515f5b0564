//! `lab demo`: each step said, done, and its result shown.

use anyhow::{Context, Result, bail};
use ingress_tests::addresses::{CLIENT4, DB, UNKNOWN, WWW};
use ingress_tests::client::{self, Answer, Curl};
use ingress_tests::process::{output, wait_until};
use ingress_tests::shared::Stage;
use ingress_tests::{Lab, daemon, servers};
use std::thread;
use std::time::{Duration, Instant};

pub fn run() -> Result<()> {
    let begin = Instant::now();
    step("A network: client, internet, VPS, home; home behind a real WireGuard tunnel");
    let lab = Lab::new()?;
    for namespace in lab.namespaces() {
        println!("  namespace {}", namespace.name());
    }
    step("Servers: DNS at the provider; nginx (TLS 1.3, HTTP/2) and PostgreSQL at home, IPv6 only");
    let certificate = servers::Certificate::generate(lab.dir())?;
    let mut stage = Stage::furnish(lab, certificate)?;
    stage.postgres()?;
    client::random_file(&stage.web.root().join("picture.bin"), 4)?;

    step("The daemon on the VPS, with this configuration");
    stage.daemon = Some(daemon::Daemon::start(&stage.lab)?);
    println!("{}", indent(&daemon::config(&stage.lab)));

    step(&format!("A client with IPv4 only fetches https://{WWW}/"));
    let answer = fetch(stage.by_name(WWW, "/?by=ipv4")?)?;
    println!("  the client, {CLIENT4}:{}, got: {}", answer.local_port(), answer.text().trim());
    println!("  nginx at home logged: {}", stage.web.request("/?by=ipv4")?);

    step("The same over IPv6: no name needed, no userspace involved");
    let answer = fetch(stage.by_ipv6("/?by=ipv6")?)?;
    println!("  the client got: {}", answer.text().trim());

    step(&format!("psql to {DB} over IPv4"));
    let answer = client::psql(
        &stage.lab,
        DB,
        "select 'PostgreSQL ' || current_setting('server_version') || ' sees ' || inet_client_addr()",
    )?;
    println!("  {}", answer.trim());

    step("A name that does not exist is refused");
    let refused = stage.by_name(UNKNOWN, "/")?.run()?;
    println!("  curl: {}, after {:?}", refused.error(), refused.time);

    step("ingressctl flows, while three downloads and a query run");
    let downloads: Vec<_> = (0..3)
        .map(|_| Ok(stage.by_name(WWW, "/slow/picture.bin")?.args(&["--max-time", "8"]).start()))
        .collect::<Result<_>>()?;
    let query = {
        let psql = stage.psql_command(DB, "select pg_sleep(4)")?;
        thread::spawn(move || output(&mut { psql }))
    };
    wait_until(Duration::from_secs(5), "flows appear", || {
        stage.daemon().and_then(daemon::Daemon::flows).is_ok_and(|flows| flows.len() >= 4)
    })?;
    thread::sleep(Duration::from_secs(1));
    for command in ["flows", "stats", "drops"] {
        println!("\n$ ingressctl {command}");
        let printed = stage.daemon()?.ctl(&[command])?;
        print!("{}", String::from_utf8_lossy(&printed.stdout));
        if !printed.status.success() {
            bail!("ingressctl {command}: {}", String::from_utf8_lossy(&printed.stderr).trim());
        }
    }
    let _ = query.join();
    for download in downloads {
        let _ = download.join();
    }
    step("Cleaning up");
    drop(stage);
    println!("  done, in {:.1} s", begin.elapsed().as_secs_f32());
    Ok(())
}

fn fetch(curl: Curl) -> Result<Answer> {
    let answer = curl.run()?;
    if answer.exit_code() != 0 || answer.status() != 200 {
        bail!("curl failed ({}): {}", answer.exit_code(), answer.error());
    }
    let facts = &answer.facts;
    let took = facts["time_total"].as_f64().context("curl knows how long it took")?;
    let version = facts["http_version"].as_str().unwrap_or("?");
    println!("  HTTP/{version} {} in {:.1} ms", answer.status(), took * 1000.0);
    Ok(answer)
}

fn step(what: &str) {
    println!("\n== {what}");
}

fn indent(text: &str) -> String {
    text.lines().filter(|line| !line.is_empty()).map(|line| format!("    {line}\n")).collect()
}
