//! A real WireGuard tunnel in userspace, so that no kernel module is needed.

use crate::netns::Namespace;
use crate::process::{self, Process, wait_until};
use anyhow::{Context, Result};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What tunnels carry at most, as everywhere in the world.
pub const MTU: u16 = 1420;

/// The port of the end that waits.
pub const PORT: u16 = 51820;

/// One end of a tunnel. The interface's name is unique on the machine: wireguard-go keeps its
/// control socket under that name, and not in a namespace.
#[derive(Debug)]
pub struct Tunnel {
    interface: String,
    process: Option<Process>,
}

impl Tunnel {
    /// Makes the interface, not yet up.
    pub fn start(namespace: &Namespace, interface: &str, dir: &Path) -> Result<Self> {
        let mut tunnel = Self { interface: interface.to_owned(), process: None };
        tunnel.restart(namespace, dir)?;
        Ok(tunnel)
    }

    /// Makes the interface again after [`Self::stop`].
    pub fn restart(&mut self, namespace: &Namespace, dir: &Path) -> Result<()> {
        let interface = &self.interface;
        let mut command = namespace.command("wireguard-go")?;
        command.args(["-f", interface]).env("LOG_LEVEL", "error");
        let log = dir.join(format!("{interface}.log"));
        self.process = Some(Process::spawn(&mut command, &log)?);
        Ok(())
    }

    /// Removes the interface.
    pub fn stop(&mut self) {
        self.process = None;
        // It has no time to do that when killed.
        let _ = fs::remove_file(self.socket());
    }

    /// Waits until the interface is there.
    pub fn wait(&self) -> Result<()> {
        let socket = self.socket();
        wait_until(Duration::from_secs(5), "wireguard-go", || Path::new(&socket).exists())
            .with_context(|| self.process.as_ref().map(Process::log_tail).unwrap_or_default())
    }

    /// Gives it keys and a peer; `wg setconf` format.
    pub fn configure(&self, dir: &Path, config: &str) -> Result<()> {
        let file = dir.join(format!("{}.conf", self.interface));
        fs::write(&file, config)?;
        self.configure_again(dir)
    }

    /// Gives it the same once more: it forgets its sessions, and speaks up if it can.
    pub fn configure_again(&self, dir: &Path) -> Result<()> {
        let file = dir.join(format!("{}.conf", self.interface));
        process::output(Command::new("wg").args(["setconf", &self.interface]).arg(file))?;
        Ok(())
    }

    fn socket(&self) -> String {
        format!("/var/run/wireguard/{}.sock", self.interface)
    }

    /// The interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }
}

/// A pair of keys, in the form that WireGuard's tools use.
#[derive(Debug)]
pub struct Keys {
    /// The secret half.
    pub private: String,
    /// The half for the peer.
    pub public: String,
}

impl Keys {
    /// Makes new ones.
    pub fn generate() -> Result<Self> {
        let private = process::output(Command::new("wg").arg("genkey"))?.trim().to_owned();
        let mut pubkey = Command::new("wg")
            .arg("pubkey")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = pubkey.stdin.take() {
            writeln!(stdin, "{private}")?;
        }
        let output = pubkey.wait_with_output()?;
        Ok(Self { private, public: String::from_utf8(output.stdout)?.trim().to_owned() })
    }
}
