//! A real WireGuard tunnel: the kernel's own, or one in userspace where the kernel has none.

use crate::netns::Namespace;
use crate::process::{self, Process, wait_until};
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What tunnels carry at most, as everywhere in the world.
pub const MTU: u16 = 1420;

/// The port of the end that waits.
pub const PORT: u16 = 51820;

/// Asks for one kind: `kernel`, or `go` for the one in userspace.
const KIND: &str = "INGRESS_WIREGUARD";

/// One end of a tunnel. The interface's name is unique on the machine: wireguard-go keeps its
/// control socket under that name, and not in a namespace.
#[derive(Debug)]
pub struct Tunnel {
    interface: String,
    namespace: Namespace,
    end: End,
}

/// Who does the work.
#[derive(Debug)]
enum End {
    /// Nobody, for the moment.
    None,
    Kernel,
    Userspace(Process),
}

impl Tunnel {
    /// Makes the interface, not yet up.
    pub fn start(namespace: &Namespace, interface: &str, dir: &Path) -> Result<Self> {
        let (interface, namespace) = (interface.to_owned(), namespace.clone());
        let mut tunnel = Self { interface, namespace, end: End::None };
        tunnel.restart(dir)?;
        Ok(tunnel)
    }

    /// Makes the interface again after [`Self::stop`].
    pub fn restart(&mut self, dir: &Path) -> Result<()> {
        let kind = env::var(KIND).unwrap_or_default();
        if kind != "go" {
            let added = self.namespace.ip(&format!("link add {} type wireguard\n", self.interface));
            match added {
                Ok(()) => {
                    self.end = End::Kernel;
                    return Ok(());
                }
                Err(error) if kind == "kernel" => return Err(error),
                Err(_) => {}
            }
        }
        let mut command = self.namespace.command("wireguard-go")?;
        command.args(["-f", &self.interface]).env("LOG_LEVEL", "error");
        let log = dir.join(format!("{}.log", self.interface));
        self.end = End::Userspace(Process::spawn(&mut command, &log)?);
        Ok(())
    }

    /// Removes the interface.
    pub fn stop(&mut self) {
        match std::mem::replace(&mut self.end, End::None) {
            End::None => {}
            End::Kernel => {
                // With its namespace gone, the interface is gone, too.
                let _ = self.namespace.ip(&format!("link del {}\n", self.interface));
            }
            End::Userspace(process) => {
                drop(process);
                // It has no time to do that when killed.
                let _ = fs::remove_file(self.socket());
            }
        }
    }

    /// Waits until the interface is there.
    pub fn wait(&self) -> Result<()> {
        match &self.end {
            End::None => bail!("{} was not started", self.interface),
            End::Kernel => Ok(()),
            End::Userspace(process) => {
                let socket = self.socket();
                wait_until(Duration::from_secs(5), "wireguard-go", || Path::new(&socket).exists())
                    .with_context(|| process.log_tail())
            }
        }
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
        let mut wg = self.namespace.command("wg")?;
        process::output(wg.args(["setconf", &self.interface]).arg(file))?;
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
