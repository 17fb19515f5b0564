//! Clients that people use, on the client's machine in the lab.

use crate::addresses::VPS4;
use crate::netns::Namespace;
use crate::process;
use crate::servers::Certificate;
use crate::topology::Lab;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One request of curl.
#[derive(Debug)]
pub struct Curl {
    command: Command,
    body: PathBuf,
}

/// What became of it.
#[derive(Debug)]
pub struct Answer {
    /// Everything curl knows, see `--write-out '%{json}'`.
    pub facts: Value,
    /// What came.
    pub body: PathBuf,
    /// How long it took.
    pub time: Duration,
}

impl Curl {
    /// A request to the VPS's IPv4 address for a name, as if DNS had said so.
    pub fn by_name(lab: &Lab, certificate: &Certificate, name: &str, path: &str) -> Result<Self> {
        Self::by_name_and_port(lab, certificate, name, 443, path)
    }

    /// The same for another port.
    pub fn by_name_and_port(
        lab: &Lab,
        certificate: &Certificate,
        name: &str,
        port: u16,
        path: &str,
    ) -> Result<Self> {
        let mut curl = Self::new(&lab.client, lab, certificate)?;
        curl.command.args(["--resolve", &format!("{name}:{port}:{VPS4}")]);
        curl.command.arg(format!("https://{name}:{port}{path}"));
        Ok(curl)
    }

    /// A request over IPv6, to the server itself.
    pub fn direct(
        lab: &Lab,
        certificate: &Certificate,
        name: &str,
        address: std::net::Ipv6Addr,
        path: &str,
    ) -> Result<Self> {
        Self::on(&lab.client, lab, certificate, name, address, path)
    }

    /// The same from another machine of the lab.
    pub fn on(
        machine: &Namespace,
        lab: &Lab,
        certificate: &Certificate,
        name: &str,
        address: std::net::Ipv6Addr,
        path: &str,
    ) -> Result<Self> {
        let mut curl = Self::new(machine, lab, certificate)?;
        curl.command.args(["--resolve", &format!("{name}:443:[{address}]")]);
        curl.command.arg(format!("https://{name}{path}"));
        Ok(curl)
    }

    fn new(machine: &Namespace, lab: &Lab, certificate: &Certificate) -> Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let body = lab.dir().join(format!("curl-{}-{number}", std::process::id()));
        let mut command = machine.command("curl")?;
        command
            .args(["--silent", "--show-error", "--max-time", "120", "--write-out", "%{json}"])
            .arg("--output")
            .arg(&body)
            .arg("--cacert")
            .arg(&certificate.certificate)
            .stdin(Stdio::null());
        Ok(Self { command, body })
    }

    /// Adds an option of curl.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// Sends a file with PUT.
    #[must_use]
    pub fn upload(mut self, file: &Path) -> Self {
        self.command.arg("--upload-file").arg(file);
        self
    }

    /// Does it and waits.
    pub fn run(mut self) -> Result<Answer> {
        let start = Instant::now();
        let output = self.command.output().context("start curl")?;
        let facts = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok(Answer { facts, body: self.body, time: start.elapsed() })
    }

    /// Does it in a thread of its own.
    #[must_use]
    pub fn start(self) -> std::thread::JoinHandle<Result<Answer>> {
        std::thread::spawn(move || self.run())
    }
}

impl Answer {
    /// 0, or what curl(1) lists under EXIT CODES.
    #[must_use]
    pub fn exit_code(&self) -> i64 {
        self.facts["exitcode"].as_i64().unwrap_or(-1)
    }

    /// curl's words for what went wrong.
    #[must_use]
    pub fn error(&self) -> &str {
        self.facts["errormsg"].as_str().unwrap_or_default()
    }

    /// The status of HTTP, 0 without an answer.
    #[must_use]
    pub fn status(&self) -> u64 {
        self.facts["http_code"].as_u64().unwrap_or_default()
    }

    /// The client's port.
    #[must_use]
    pub fn local_port(&self) -> u64 {
        self.facts["local_port"].as_u64().unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.body).unwrap_or_default()
    }
}

/// Runs a query with psql over IPv4 by name.
pub fn psql(lab: &Lab, name: &str, query: &str) -> Result<String> {
    process::output(&mut psql_command(lab, name, query)?)
}

/// The same, not yet started.
pub fn psql_command(lab: &Lab, name: &str, query: &str) -> Result<Command> {
    let mut psql = lab.client.command("psql")?;
    psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", query]).arg(format!(
        "host={name} hostaddr={VPS4} port=5432 user=postgres sslmode=require connect_timeout=10"
    ));
    Ok(psql)
}

/// What ping prints; that nobody answers is no error.
pub fn ping6(from: &Namespace, args: &[&str]) -> Result<String> {
    let output = from.command("ping")?.args(["-6", "-n"]).args(args).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr))
}

/// Whether two files hold the same bytes.
pub fn same_content(a: &Path, b: &Path) -> Result<bool> {
    let status = Command::new("cmp").arg("--silent").arg(a).arg(b).status()?;
    Ok(status.success())
}

/// A file of bytes that do not repeat.
pub fn random_file(path: &Path, megabytes: usize) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["rand", "-out"]).arg(path).arg((megabytes << 20).to_string());
    process::output(&mut openssl)?;
    Ok(())
}
