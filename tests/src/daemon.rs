//! `ingressd` on the VPS of the lab, and `ingressctl` asking it.

use crate::addresses::{DNS4, HOSTS_ONLY, NAT46_PREFIX, SITE_PREFIX, WWW6};
use crate::process::{self, Process};
use crate::topology::Lab;
use crate::{cleanup, programs};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::net::SocketAddrV4;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Where metrics are served, inside the VPS's namespace.
pub const METRICS: &str = "127.0.0.1:9469";

const READY_WITHIN: Duration = Duration::from_secs(20);

/// A daemon, running or between two runs.
#[derive(Debug)]
pub struct Daemon {
    process: Option<Process>,
    config: PathBuf,
    socket: PathBuf,
    notify: UnixDatagram,
    notify_path: PathBuf,
    dir: PathBuf,
    vps: crate::netns::Namespace,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Daemon {
    /// Starts it with the usual configuration.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_with(lab, &config(lab))
    }

    /// Starts it with another configuration, see [`config`].
    pub fn start_with(lab: &Lab, config: &str) -> Result<Self> {
        Self::start_in(lab, config, &[])
    }

    /// The same, with more in its environment.
    pub fn start_in(
        lab: &Lab,
        config: &str,
        environment: &[(&'static str, PathBuf)],
    ) -> Result<Self> {
        let dir = lab.dir().to_owned();
        let notify_path = dir.join("notify.sock");
        let _ = fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path)?;
        let mut daemon = Self {
            process: None,
            config: dir.join("ingress.toml"),
            socket: control_socket(lab),
            notify,
            notify_path,
            dir,
            vps: lab.vps.clone(),
            environment: environment.to_vec(),
        };
        daemon.configure(config)?;
        daemon.resume()?;
        Ok(daemon)
    }

    /// Writes another configuration, for the next start or reload.
    pub fn configure(&self, config: &str) -> Result<()> {
        fs::write(&self.config, config).with_context(|| format!("write {}", self.config.display()))
    }

    /// Starts it (again) and waits until it says that it is ready.
    pub fn resume(&mut self) -> Result<()> {
        self.launch()?;
        self.await_ready()
    }

    /// Starts it (again).
    pub fn launch(&mut self) -> Result<()> {
        self.launch_by_env(&[])
    }

    /// The same with options of env(1).
    pub fn launch_by_env(&mut self, options: &[&str]) -> Result<()> {
        self.discard_notifications()?;
        let mut command = self.vps.command("env")?;
        command
            .args(options)
            .arg(programs::find("ingressd")?)
            .arg("--config")
            .arg(&self.config)
            .arg("run")
            .envs(self.environment.iter().cloned())
            .env("NOTIFY_SOCKET", &self.notify_path)
            .env("RUST_LOG", std::env::var("INGRESS_LOG").unwrap_or("debug".to_owned()))
            .env("RUST_BACKTRACE", "1");
        self.process = Some(Process::spawn(&mut command, &self.log())?);
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub fn await_ready(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("it was not launched")?;
        let end = Instant::now() + READY_WITHIN * process::patience();
        self.notify.set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut message = [0; 1024];
        while Instant::now() < end {
            if let Ok(len) = self.notify.recv(&mut message)
                && message[..len].split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
            {
                return Ok(());
            }
            if !process.is_running() {
                bail!("ingressd ended before it was ready\n{}", process.log_tail());
            }
        }
        bail!("ingressd is not ready within {READY_WITHIN:?}\n{}", process.log_tail())
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM);
            let status = process.wait(Duration::from_secs(10))?;
            if !status.success() {
                bail!("ingressd ended with {status} on SIGTERM\n{}", process.log_tail());
            }
        }
        Ok(())
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        // Dropping a process kills it with SIGKILL and waits.
        self.process = None;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Its resident memory, in octets.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }

    /// Whether it listens there.
    pub fn listens(&self, address: SocketAddrV4) -> Result<bool> {
        let status = self.ctl_json(&["status"])?;
        let rows = status["listen"].as_array().context("a list of what is listened on")?;
        Ok(rows.iter().any(|row| row["address"] == address.to_string()))
    }

    /// Its metrics, as Prometheus gets them.
    pub fn metrics(&self) -> Result<String> {
        let mut curl = self.vps.command("curl")?;
        process::output(curl.args(["-sS", &format!("http://{METRICS}/metrics")]))
    }

    /// One of them, see [`metric`].
    pub fn metric(&self, name: &str) -> Result<f64> {
        metric(&self.metrics()?, name)
    }

    /// Its process.
    pub fn pid(&self) -> Result<nix::unistd::Pid> {
        self.process.as_ref().map(Process::pid).context("the daemon does not run")
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Where it logs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("ingressd.log")
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its configuration.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// What an `ingressctl` command says and how it ends.
    pub fn ctl(&self, args: &[&str]) -> Result<Output> {
        let mut command = ingressctl(&self.vps, &self.socket)?;
        command.args(args).output().context("start ingressctl")
    }

    /// What an `ingressctl` command prints with `-o json`.
    pub fn ctl_json(&self, args: &[&str]) -> Result<Value> {
        let mut command = ingressctl(&self.vps, &self.socket)?;
        let text = process::output(command.args(args).args(["-o", "json"]))?;
        serde_json::from_str(&text).with_context(|| format!("ingressctl {args:?} printed {text}"))
    }

    /// The flows of the moment.
    pub fn flows(&self) -> Result<Vec<Value>> {
        let mut answer = self.ctl_json(&["flows"])?;
        let Value::Array(flows) = answer["flows"].take() else {
            bail!("no list of flows in {answer}");
        };
        Ok(flows)
    }

    /// How many packets were dropped for a reason.
    pub fn drops(&self, reason: &str) -> Result<u64> {
        let answer = self.ctl_json(&["drops"])?;
        answer["drops"]
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["reason"] == reason)?["count"].as_u64())
            .with_context(|| format!("no {reason} in {answer}"))
    }

    fn discard_notifications(&self) -> Result<()> {
        self.notify.set_nonblocking(true)?;
        while self.notify.recv(&mut [0; 1024]).is_ok() {}
        self.notify.set_nonblocking(false)?;
        Ok(())
    }
}

/// Runs ingressd on the VPS beside the daemon, with a configuration of its own; one that does not end is
/// killed. `wrapper` goes before it on the command line.
pub fn once(lab: &Lab, config: &str, wrapper: &[&str], args: &[&str]) -> Result<Output> {
    let file = lab.dir().join("once.toml");
    fs::write(&file, config)?;
    let mut command = lab.vps.command("timeout")?;
    let limit = (10 * process::patience()).to_string();
    command.args(["--signal=KILL", &limit]).args(wrapper).arg(programs::find("ingressd")?);
    command.arg("--config").arg(&file).args(args).env_remove("NOTIFY_SOCKET");
    command.output().context("start ingressd")
}

/// The control socket of a lab's daemon.
#[must_use]
pub fn control_socket(lab: &Lab) -> PathBuf {
    lab.dir().join("control.sock")
}

/// `ingressctl`, on the VPS since `doctor` looks at its interfaces.
pub fn ingressctl(vps: &crate::netns::Namespace, socket: &Path) -> Result<Command> {
    let mut command = vps.command(programs::find("ingressctl")?)?;
    command.arg("--socket").arg(socket);
    Ok(command)
}

/// The usual configuration.
#[must_use]
pub fn config(lab: &Lab) -> String {
    format!(
        r#"[uplink]
interface = "eth0"

[[site]]
name = "home"
interface = "{tunnel}"
prefixes = ["{SITE_PREFIX}"]

[nat46]
prefix = "{NAT46_PREFIX}"

[[listen]]
ports = [443, 8443]
protocol = "tls"

[[listen]]
ports = [5432]
protocol = "postgres"

[dns]
servers = ["{DNS4}"]
timeout = {timeout}.0

[hosts]
"{HOSTS_ONLY}" = "{WWW6}"

[metrics]
listen = "{METRICS}"

[control]
socket = "{socket}"

[daemon]
bpffs = "{bpffs}"
"#,
        tunnel = lab.tunnel(),
        timeout = (process::patience() / 2).clamp(1, 10),
        socket = control_socket(lab).display(),
        bpffs = cleanup::bpffs(lab.id()).display(),
    )
}

/// The value of a metric, such as `handshakes_total{outcome="spliced"}`; what never happened is 0.
pub fn metric(metrics: &str, name: &str) -> Result<f64> {
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("ingress_")?.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(Ok(0.0), |value| Ok(value.trim().parse()?))
}
