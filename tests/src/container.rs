//! A clean Debian, booted by its own systemd, as the VPS of a lab: what an operator logs in to.

use crate::netns::Namespace;
use crate::process::{self, Process, wait_until};
use crate::topology::Lab;
use crate::{cleanup, programs};
use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

/// Where packages lie inside.
const PACKAGES: &str = "/packages";

/// It runs until this is dropped. What is written in it is gone then.
#[derive(Debug)]
pub struct Container {
    _nspawn: Process,
    init: Pid,
}

impl Container {
    /// Boots it in the VPS's network namespace, with a bpffs of its own.
    pub fn boot(lab: &Lab) -> Result<Self> {
        let bpffs = cleanup::own_bpffs(lab.id());
        fs::create_dir_all(&bpffs)?;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount a bpffs on {}", bpffs.display()))?;
        let mut command = Command::new("systemd-nspawn");
        command
            .args(["--quiet", "--boot", "--console=pipe", "--register=no", "--keep-unit"])
            .args(["--volatile=overlay", "--resolv-conf=off", "--machine"])
            .arg(format!("vps-{}", lab.id()))
            .arg(format!("--directory={}", made("clean")?.display()))
            .arg(format!("--network-namespace-path={}", lab.vps.path().display()))
            .arg("--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN,CAP_NET_RAW")
            .arg("--system-call-filter=bpf")
            .arg(format!("--bind={}:/sys/fs/bpf", bpffs.display()))
            // wireguard-go answers `wg` there.
            .arg("--bind=/run/wireguard")
            .arg(format!("--bind-ro={}:{PACKAGES}", directory()?.display()));
        let log = lab.dir().join("container.log");
        let mut nspawn = Process::spawn(&mut command, &log)?;
        let mut init = None;
        let booted = wait_until(Duration::from_secs(60), "Debian boots in a container", || {
            init = init.or_else(|| init_of(nspawn.pid(), &lab.vps));
            !nspawn.is_running() || init.is_some_and(is_up)
        });
        match (booted, init) {
            (Ok(()), Some(init)) if nspawn.is_running() => Ok(Self { _nspawn: nspawn, init }),
            (failed, _) => bail!("{failed:?}\n{}", nspawn.log_tail()),
        }
    }

    /// What a line of shell says and how it ends.
    pub fn shell(&self, line: &str) -> Result<Output> {
        inside(self.init).args(["sh", "-c", line]).output().context("start `nsenter`")
    }

    /// What a line of shell that must succeed prints.
    pub fn run(&self, line: &str) -> Result<String> {
        process::output(inside(self.init).args(["sh", "-c", line])).context(line.to_owned())
    }

    /// Where a revision of the package lies inside.
    pub fn package(&self, revision: u32) -> Result<String> {
        let end = format!("-{revision}_");
        let names = fs::read_dir(directory()?)?.flatten().map(|entry| entry.file_name());
        names
            .filter_map(|name| name.into_string().ok())
            .find(|name| name.contains(&end) && name.ends_with(".deb"))
            .map(|name| format!("{PACKAGES}/{name}"))
            .with_context(|| format!("no package of revision {revision}: {MAKES}"))
    }
}

const MAKES: &str = "`cargo xtask test` makes it";

/// What `cargo xtask` has made beside the programs.
fn directory() -> Result<PathBuf> {
    let program = programs::find("lab")?;
    let beside = program.parent().context("a program lies somewhere")?;
    Ok(beside.join("deb"))
}

fn made(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    if !path.exists() {
        bail!("there is no {}: {MAKES}", path.display());
    }
    Ok(path)
}

/// The child of nspawn that lives in the namespace.
fn init_of(nspawn: Pid, vps: &Namespace) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.map(Pid::from_raw).find(|child| vps.holds(*child))
}

fn is_up(init: Pid) -> bool {
    let state = inside(init).args(["systemctl", "is-system-running"]).output();
    state.is_ok_and(|state| matches!(state.stdout.trim_ascii(), b"running" | b"degraded"))
}

/// A command in all its namespaces.
fn inside(init: Pid) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--all", "--target", &init.to_string(), "--"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TERM", "dumb");
    command
}
