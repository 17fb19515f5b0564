//! `ingressctl doctor` and `explain`: each fault, made for real on the VPS, is found and named.

use anyhow::{Context, Result};
use ingress_tests::addresses::{
    ALIAS, DB, DNS4, HOSTS_ONLY, NOBODY, OUTSIDE, SITE_PREFIX, UNKNOWN, WWW,
};
use ingress_tests::cleanup;
use ingress_tests::daemon::{config, ingressctl};
use ingress_tests::process;
use ingress_tests::programs;
use ingress_tests::shared::{Stage, stage};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

const FAILED: i32 = 1;

#[test]
fn a_sound_machine_passes() -> Result<()> {
    let stage = stage();
    let (code, findings) = doctor(&stage, &config(&stage.lab), &[])?;
    let bad: Vec<&Value> = findings.iter().filter(|one| one["verdict"] != "ok").collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert_eq!(code, Some(0));
    for check in ["kernel", "capabilities", "bpffs", "allowed ips", "tunnel", "dns", "mtu", "route"]
    {
        assert!(findings.iter().any(|one| one["check"] == check), "{check}: {findings:#?}");
    }
    Ok(())
}

#[test]
fn forwarding_that_is_off_is_found() -> Result<()> {
    let stage = stage();
    stage.lab.vps.sysctl("ipv6/conf/all/forwarding", "0")?;
    let found = finds(&stage, "forwarding", "fail", "forwarding is off", "sysctl -w");
    stage.lab.vps.sysctl("ipv6/conf/all/forwarding", "1")?;
    stage.lab.set_up_uplink()?;
    found
}

#[test]
fn a_missing_route_is_found() -> Result<()> {
    let stage = stage();
    let vps = &stage.lab.vps;
    let route = format!("{SITE_PREFIX} dev {}", stage.lab.tunnel());
    vps.ip(&format!("route del {route}\n"))?;
    let found = finds(&stage, "route", "fail", SITE_PREFIX, "ip -6 route add");
    vps.ip(&format!("route add {route}\n"))?;
    found?;
    vps.ip("route del ::/0 via 2001:db8:f::1\n")?;
    let found = finds(&stage, "route", "fail", "no IPv6 default route", "default via");
    vps.ip("route add ::/0 via 2001:db8:f::1\n")?;
    found
}

#[test]
fn wireguards_faults_are_found() -> Result<()> {
    let mut stage = stage();
    let tunnel = stage.lab.tunnel().to_owned();
    let peer = process::output(Command::new("wg").args(["show", &tunnel, "peers"]))?;
    let peer = peer.trim();
    let wg = |words: &[&str]| {
        let mut wg = Command::new("wg");
        process::output(wg.args(["set", &tunnel, "peer", peer]).args(words)).map(drop)
    };
    wg(&["allowed-ips", "2001:db8:9::/64"])?;
    finds(&stage, "allowed ips", "fail", SITE_PREFIX, "AllowedIPs")?;
    wg(&["remove"])?;
    wg(&["allowed-ips", SITE_PREFIX])?;
    finds(&stage, "tunnel", "fail", "never had a WireGuard handshake", "PersistentKeepalive")?;
    let status = stage.daemon()?.ctl_json(&["status"])?;
    assert_eq!(status["sites"][0]["wireguard"], true, "{status}");
    assert!(status["sites"][0]["last_handshake_timestamp_seconds"].is_null(), "{status}");
    let (ok, steps) = explain(&stage, WWW)?;
    assert!(!ok && steps.contains("never had a WireGuard handshake"), "{steps}");

    stage.lab.remove_tunnel()?;
    finds(&stage, "interface", "fail", "does not exist", "wg-quick up")?;
    stage.lab.restore_tunnel()
}

#[test]
fn an_mtu_that_does_not_fit_is_found() -> Result<()> {
    let mut stage = stage();
    let tunnel = stage.lab.tunnel().to_owned();
    let set = |mtu: u32| stage.lab.vps.ip(&format!("link set {tunnel} mtu {mtu}\n"));
    set(1480)?;
    finds(&stage, "mtu", "warn", "1480", "mtu 1420")?;
    // Below 1280 a device loses IPv6 and every route of it.
    set(1200)?;
    finds(&stage, "mtu", "fail", "too small for IPv6", "mtu 1420")?;
    stage.lab.remove_tunnel()?;
    stage.lab.restore_tunnel()
}

#[test]
fn what_the_configuration_points_to_is_looked_at() -> Result<()> {
    let stage = stage();
    let usual = config(&stage.lab);
    let bpffs = cleanup::bpffs(stage.lab.id()).display().to_string();
    let nowhere = stage.lab.dir().join("no-bpffs").display().to_string();
    for (from, to, check, what, remedy) in [
        (DNS4.to_string(), "198.51.100.77".to_owned(), "dns", "198.51.100.77", "name servers"),
        (bpffs, nowhere, "bpffs", "no-bpffs is in no BPF", "mount -t bpf"),
        ("\"eth0\"".to_owned(), "\"eth9\"".to_owned(), "interface", "eth9 does not exist", ""),
        ("[443, 8443]".to_owned(), "[70000]".to_owned(), "configuration", "70000", "correct it"),
    ] {
        let wrong = usual.replacen(&from, &to, 1);
        assert_ne!(wrong, usual);
        let (code, findings) = doctor(&stage, &wrong, &[])?;
        assert_eq!(code, Some(FAILED), "{check}");
        has(&findings, check, "fail", what, remedy)?;
    }
    Ok(())
}

#[test]
fn a_missing_capability_is_found() -> Result<()> {
    let stage = stage();
    for (drop, named) in [
        ("-perfmon", "CAP_PERFMON"),
        ("-bpf", "CAP_BPF"),
        ("-net_raw", "CAP_NET_RAW"),
        ("-net_admin", "CAP_NET_ADMIN"),
    ] {
        let (code, findings) =
            doctor(&stage, &config(&stage.lab), &["setpriv", "--bounding-set", drop])?;
        assert_eq!(code, Some(FAILED), "{drop}");
        has(&findings, "capabilities", "fail", named, "container")?;
    }
    Ok(())
}

#[test]
fn an_old_kernel_is_found() -> Result<()> {
    let stage = stage();
    let (release, version) = (stage.lab.dir().join("osrelease"), stage.lab.dir().join("version"));
    for (running, verdict, what, remedy) in [
        ("5.4.0-200-generic", "fail", "Linux 5.4.0", "5.10 or later"),
        ("6.8.0-60-generic", "warn", "CVE-2025-38192", "6.12.35"),
    ] {
        fs::write(&release, format!("{running}\n"))?;
        fs::write(&version, format!("Linux version {running} (gcc)\n"))?;
        let script = format!(
            "mount --bind {} /proc/sys/kernel/osrelease && mount --bind {} /proc/version && exec \"$@\"",
            release.display(),
            version.display()
        );
        let lie = ["unshare", "--mount", "sh", "-c", &script, "sh"];
        let (_, findings) = doctor(&stage, &config(&stage.lab), &lie)?;
        has(&findings, "kernel", verdict, what, remedy)?;
    }
    Ok(())
}

#[test]
fn a_server_on_a_listed_port_is_found() -> Result<()> {
    let stage = stage();
    let server = stage.lab.vps.enter(|| TcpListener::bind("0.0.0.0:8443"))??;
    let (code, findings) = doctor(&stage, &config(&stage.lab), &[])?;
    drop(server);
    assert_eq!(code, Some(0), "a warning is no failure");
    has(&findings, "port", "warn", "port 8443", "ss -ltnp")
}

#[test]
fn a_daemon_that_is_away_is_found() -> Result<()> {
    let mut stage = stage();
    stage.daemon_mut()?.stop()?;
    let found = finds(&stage, "ingressd", "fail", "does not answer", "systemctl enable");
    stage.daemon_mut()?.resume()?;
    found
}

#[test]
fn explain_says_where_a_client_would_fail() -> Result<()> {
    let stage = stage();
    for (name, ok, said) in [
        (WWW, true, "accepts connections to 443"),
        (ALIAS, true, "accepts connections to 443"),
        (HOSTS_ONLY, true, "[hosts]"),
        (DB, false, "refuses"),
        (UNKNOWN, false, "unrecognized_name"),
        (OUTSIDE, false, "outside every site"),
        (NOBODY, false, "cannot be reached"),
        ("not a name", false, "invalid_name"),
        ("192.0.2.7", false, "no_name"),
    ] {
        let (good, steps) = explain(&stage, name)?;
        assert_eq!(good, ok, "{name}: {steps}");
        assert!(steps.contains(said), "{name}: {said} in {steps}");
        assert!(steps.contains("198.51.100.2:443 (tls)"), "{name}: {steps}");
    }
    Ok(())
}

/// Nobody is at these addresses, which home's router finds out after three seconds for each.
#[test]
fn explain_tries_all_addresses_of_a_name_at_once() -> Result<()> {
    const MANY: &str = "many.example.test";
    let stage = stage();
    let usual = config(&stage.lab);
    let addresses: Vec<String> =
        (1..=8).map(|n| format!("\"2001:db8:1:0:1:dead:0:{n}\"")).collect();
    let hosts = format!("[hosts]\n\"{MANY}\" = [{}]", addresses.join(", "));
    stage.daemon()?.configure(&usual.replace("[hosts]", &hosts))?;
    let reloaded = stage.daemon()?.ctl(&["reload"])?;
    let start = Instant::now();
    let explained = explain(&stage, MANY);
    let took = start.elapsed();
    stage.daemon()?.configure(&usual)?;
    stage.daemon()?.ctl(&["reload"])?;
    assert!(reloaded.status.success(), "{reloaded:?}");
    let (_, steps) = explained?;
    for n in 1..=8 {
        let address = format!("2001:db8:1:0:1:dead:0:{n} ");
        assert!(
            steps.contains(&format!("{address}cannot be reached"))
                || steps.contains(&format!("{address}does not answer")),
            "{steps}"
        );
    }
    assert!(took < Duration::from_secs(10), "{took:?}");
    Ok(())
}

/// Whether the client would be connected, and every step as JSON.
fn explain(stage: &Stage, name: &str) -> Result<(bool, String)> {
    let output = stage.daemon()?.ctl(&["explain", name, "-o", "json"])?;
    let steps = String::from_utf8(output.stdout)?;
    let code = output.status.code().context("killed")?;
    assert!(code == 0 || code == FAILED, "{code}");
    Ok((code == 0, steps))
}

/// That the doctor finds something on the VPS as it is now.
fn finds(stage: &Stage, check: &str, verdict: &str, what: &str, remedy: &str) -> Result<()> {
    let (_, findings) = doctor(stage, &config(&stage.lab), &[])?;
    has(&findings, check, verdict, what, remedy)
}

fn has(findings: &[Value], check: &str, verdict: &str, what: &str, remedy: &str) -> Result<()> {
    let says = |one: &&Value, key: &str, text: &str| {
        one[key].as_str().is_some_and(|said| said.contains(text))
    };
    findings
        .iter()
        .filter(|one| one["check"] == check && one["verdict"] == verdict)
        .find(|one| says(one, "what", what) && says(one, "remedy", remedy))
        .with_context(|| format!("no {verdict} of {check} with {what:?} in {findings:#?}"))?;
    Ok(())
}

/// The exit code and the findings. `wrapper` goes before the command.
fn doctor(stage: &Stage, config: &str, wrapper: &[&str]) -> Result<(Option<i32>, Vec<Value>)> {
    let file = stage.lab.dir().join("doctor.toml");
    fs::write(&file, config)?;
    let socket = stage.daemon()?.socket();
    let mut command = match wrapper {
        [] => ingressctl(&stage.lab.vps, socket)?,
        [program, rest @ ..] => {
            let mut command = stage.lab.vps.command(program)?;
            command.args(rest).arg(programs::find("ingressctl")?).arg("--socket").arg(socket);
            command
        }
    };
    let output = command.args(["doctor", "-o", "json", "--config"]).arg(&file).output()?;
    let mut answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let Value::Array(findings) = answer["findings"].take() else { anyhow::bail!("no findings") };
    Ok((output.status.code(), findings))
}
