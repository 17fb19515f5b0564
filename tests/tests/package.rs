//! The Debian package, from its installation to its removal, on a clean Debian that systemd has booted.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{CLIENT_NAT46, DNS4, SITE_PREFIX, VPS4, WWW};
use ingress_tests::client::random_file;
use ingress_tests::container::Container;
use ingress_tests::process::wait_until;
use ingress_tests::shared::Stage;
use serde_json::Value;
use std::fs;
use std::process::Output;
use std::time::Duration;

const CONFIG: &str = "/etc/ingress/ingress.toml";
/// As it was, for whoever has changed it; errors name it.
const EXAMPLE: &str = "/usr/share/doc/ingress/ingress.toml";
const SOON: Duration = Duration::from_secs(10);

/// Exit codes of ingressd and ingressctl.
const FAILED: i32 = 1;
const CONFIGURATION: i32 = 78;
/// curl's.
const REFUSED: i64 = 7;

/// One story: each step is of the machine that the one before has left.
#[test]
fn installed_configured_upgraded_and_removed() -> Result<()> {
    let stage = Stage::build_without_daemon()?;
    let vps = Container::boot(&stage.lab)?;
    vps.run(&format!("echo nameserver {DNS4} >/etc/resolv.conf"))?;

    installed(&vps).context("installing it")?;
    configured(&stage, &vps).context("configuring it")?;
    a_client_comes(&stage, &vps).context("a first client")?;
    upgraded(&stage, &vps).context("upgrading it")?;
    reloaded(&vps).context("reloading it")?;
    crashed(&stage, &vps).context("killing it")?;
    removed(&stage, &vps).context("removing it")
}

/// Enabled for the next boot, and not started, since nobody has said yet what is what.
fn installed(vps: &Container) -> Result<()> {
    let said = vps.run(&format!("dpkg --install {}", vps.package(1)?))?;
    ensure!(said.contains("set the empty values in /etc/ingress/ingress.toml"), "{said}");
    assert_eq!(vps.run("systemctl is-enabled ingress")?.trim(), "enabled");
    assert_eq!(text(&vps.shell("systemctl is-active ingress")?).trim(), "inactive");
    let checked = vps.shell("ingressd check")?;
    assert_eq!(checked.status.code(), Some(CONFIGURATION), "{}", text(&checked));
    for line in line_numbers(&vps.run(&format!("cat {CONFIG}"))?) {
        let place = format!("{CONFIG}:{line}");
        ensure!(text(&checked).contains(&place), "no {place} in {}", text(&checked));
    }
    vps.run(&format!("cmp {CONFIG} {EXAMPLE}"))?;
    let of_no_form = vps.shell(&format!(
        "sed 's/^ports = .*/ports = [443/' {CONFIG} >/tmp/form.toml; ingressd check --config /tmp/form.toml"
    ))?;
    ensure!(text(&of_no_form).contains(EXAMPLE), "{}", text(&of_no_form));
    Ok(())
}

/// The lines that leave a value empty.
fn line_numbers(config: &str) -> Vec<usize> {
    let empty = |line: &str| line.ends_with("= \"\"") || line.ends_with("= []");
    let lines = config.lines().enumerate();
    let lines: Vec<usize> = lines
        .filter(|(_, line)| !line.starts_with('#') && empty(line))
        .map(|(i, _)| i + 1)
        .collect();
    assert_eq!(lines.len(), 3, "the README promises three");
    lines
}

/// The doctor names what is wrong with the machine, until nothing is.
fn configured(stage: &Stage, vps: &Container) -> Result<()> {
    let tunnel = stage.lab.tunnel();
    vps.run(&format!(
        "sed -i '/^\\[uplink\\]/,/^interface/ s|^interface = \"\"|interface = \"eth0\"|; \
                 s|^interface = \"\"|interface = \"{tunnel}\"|; \
                 s|^prefixes = \\[\\]|prefixes = [\"{SITE_PREFIX}\"]|' {CONFIG}"
    ))?;
    vps.run("ingressd check")?;
    stage.lab.vps.sysctl("ipv6/conf/all/forwarding", "0")?;
    let sick = vps.shell("ingressctl doctor")?;
    assert_eq!(sick.status.code(), Some(FAILED), "{}", text(&sick));
    ensure!(text(&sick).contains("net.ipv6.conf.all.forwarding"), "{}", text(&sick));
    ensure!(text(&sick).contains("systemctl enable --now ingress"), "{}", text(&sick));
    stage.lab.vps.sysctl("ipv6/conf/all/forwarding", "1")?;
    vps.run("systemctl enable --now ingress")?;
    let well = vps.shell("ingressctl doctor")?;
    assert_eq!(well.status.code(), Some(0), "{}", text(&well));
    Ok(())
}

fn a_client_comes(stage: &Stage, vps: &Container) -> Result<()> {
    let answer = stage.by_name(WWW, "/")?.run()?;
    assert_eq!((answer.error(), answer.status()), ("", 200));
    let flows = flows(vps)?;
    assert_eq!(flows[0]["host"], WWW, "{flows:?}");
    ensure!(flows[0]["nat46_source"] == CLIENT_NAT46.to_string(), "{flows:?}");
    // Of the bounding set, what the unit gives, and of that what serving needs: BPF and NET_ADMIN.
    let status = vps.run("cat /proc/$(systemctl show -P MainPID ingress)/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    assert_eq!(effective, Some("0000008000001000"), "{status}");
    Ok(())
}

/// The next version takes over from the one that runs. A download notices nothing.
fn upgraded(stage: &Stage, vps: &Container) -> Result<()> {
    random_file(&stage.web.root().join("package.bin"), 3)?;
    let download = stage.by_name(WWW, "/slow/package.bin")?.start();
    let flowing = || Ok::<_, anyhow::Error>(flows(vps)?.iter().any(is_established));
    wait_until(SOON, "the download flows", || flowing().unwrap_or(false))?;
    let before = main_pid(vps)?;
    vps.run(&format!("dpkg --install {}", vps.package(2)?))?;
    ensure!(main_pid(vps)? != before, "the old daemon still runs");
    ensure!(flowing()?, "the flow is forgotten: {:?}", flows(vps)?);
    healthy(vps)?;
    let download = download.join().expect("no panic")?;
    assert_eq!((download.error(), download.exit_code()), ("", 0));
    let sent = fs::read(stage.web.root().join("package.bin"))?;
    ensure!(fs::read(&download.body)? == sent, "the file came otherwise than it was");
    // What the operator has written is theirs.
    ensure!(vps.run(&format!("cat {CONFIG}"))?.contains(SITE_PREFIX), "the configuration is lost");
    Ok(())
}

/// The next daemon has the same rights as the first, and has to find everything in its place with them.
fn healthy(vps: &Container) -> Result<()> {
    let doctor = vps.shell("ingressctl doctor")?;
    ensure!(doctor.status.success(), "{}", text(&doctor));
    Ok(())
}

/// `systemctl reload` fails where the new configuration is refused, and the old one goes on.
fn reloaded(vps: &Container) -> Result<()> {
    vps.run("systemctl reload ingress")?;
    vps.run(&format!(
        "cp {CONFIG} /root/right && sed -i 's/^ports = .443.$/ports = [44300000]/' {CONFIG}"
    ))?;
    let refused = vps.shell("systemctl reload ingress")?;
    ensure!(!refused.status.success(), "{}", text(&refused));
    let log = vps.run("journalctl --unit ingress --no-pager")?;
    ensure!(log.contains("44300000"), "the journal does not say why: {log}");
    assert_eq!(vps.run("systemctl is-active ingress")?.trim(), "active");
    vps.run(&format!("mv /root/right {CONFIG} && systemctl reload ingress"))?;
    Ok(())
}

/// systemd starts it again, and connections go on.
fn crashed(stage: &Stage, vps: &Container) -> Result<()> {
    let download = stage.by_name(WWW, "/slow/package.bin")?.start();
    wait_until(SOON, "the download flows", || {
        flows(vps).is_ok_and(|flows| flows.iter().any(is_established))
    })?;
    let before = main_pid(vps)?;
    vps.run("systemctl kill --signal=KILL ingress")?;
    wait_until(SOON, "systemd starts it again", || {
        main_pid(vps).is_ok_and(|pid| pid != before)
            && vps.shell("ingressctl status").is_ok_and(|status| status.status.success())
    })?;
    assert_eq!(stage.by_name(WWW, "/")?.run()?.status(), 200, "a new client");
    let download = download.join().expect("no panic")?;
    assert_eq!((download.error(), download.exit_code()), ("", 0));
    Ok(())
}

/// Nothing is left: no program, no pin, no rule of ours about the port.
fn removed(stage: &Stage, vps: &Container) -> Result<()> {
    let said = vps.run("dpkg --remove ingress")?;
    ensure!(said.contains("2 programs detached"), "{said}");
    ensure!(!vps.shell("test -e /sys/fs/bpf/ingress")?.status.success(), "pins are left");
    let unserved = stage.by_name(WWW, "/")?.run()?;
    assert_eq!(unserved.exit_code(), REFUSED, "{VPS4} belongs to the host: {}", unserved.error());
    // IPv6 is the kernel's again.
    assert_eq!(stage.by_ipv6("/")?.run()?.status(), 200);
    vps.run("dpkg --purge ingress")?;
    let left = vps.run("find /etc /usr /var/lib/systemd -path '*ingress*' ! -path '*/dpkg/*'")?;
    assert_eq!(left, "");
    Ok(())
}

fn main_pid(vps: &Container) -> Result<u32> {
    Ok(vps.run("systemctl show -P MainPID ingress")?.trim().parse()?)
}

fn flows(vps: &Container) -> Result<Vec<Value>> {
    let mut answer: Value = serde_json::from_str(&vps.run("ingressctl flows -o json")?)?;
    Ok(answer["flows"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

fn is_established(flow: &Value) -> bool {
    flow["state"] == "established"
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
