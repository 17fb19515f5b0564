//! Named network namespaces: made, configured, and entered by processes and threads.
//!
//! `ip netns exec` would remount /sys, and the daemon needs the bpffs below it; so processes enter
//! by setns(2), as `nsenter --net` does.

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// A network namespace with a name. It is removed with the lab (see [`crate::cleanup`]).
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, its loopback up, quiet (no DAD, no router advertisements), interfaces to come.
    pub fn create(name: &str) -> Result<Self> {
        ip_batch(None, &format!("netns add {name}\n"))?;
        let namespace = Self { name: name.to_owned() };
        for scope in ["all", "default"] {
            for (key, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("dad_transmits", "0")] {
                namespace.sysctl(&format!("ipv6/conf/{scope}/{key}"), value)?;
            }
        }
        namespace.ip("link set lo up\n")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` lists it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `nsenter --net=` takes.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Whether a process lives inside.
    #[must_use]
    pub fn holds(&self, pid: Pid) -> bool {
        let theirs = inode(Path::new(&format!("/proc/{pid}/ns/net")));
        theirs.is_some() && theirs == inode(&self.path())
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let namespace = self.open()?;
        let mut command = Command::new(program);
        // SAFETY: between fork and exec this only calls setns(2), which is async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
            });
        }
        Ok(command)
    }

    /// Runs `ip` commands, one a line.
    pub fn ip(&self, script: &str) -> Result<()> {
        ip_batch(Some(&self.name), script)
    }

    /// Lets forwarding, or whatever else is below /proc/sys/net, have a value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let file = PathBuf::from("/proc/sys/net").join(key);
        self.enter(|| fs::write(&file, value))?
            .with_context(|| format!("{}: set {} to {value}", self.name, file.display()))
    }

    /// Runs code inside. Sockets opened there stay there.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T> {
        let namespace = self.open()?;
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                Ok(inside())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A file below /proc/net as this namespace has it.
    pub fn proc_net(&self, file: &str) -> Result<String> {
        // /proc/net follows the process, not the thread.
        let path = PathBuf::from("/proc/thread-self/net").join(file);
        self.enter(|| fs::read_to_string(&path))?
            .with_context(|| format!("{}: read {}", self.name, path.display()))
    }

    /// What this namespace's TCP has counted, by the kernel's name for it.
    pub fn tcp_counter(&self, name: &str) -> Result<u64> {
        for (file, group) in [("snmp", "Tcp: "), ("netstat", "TcpExt: ")] {
            let text = self.proc_net(file)?;
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
            let (names, values) = lines.next().zip(lines.next()).context("no counters of TCP")?;
            let mut columns = names.split(' ').zip(values.split(' '));
            if let Some((_, value)) = columns.find(|(known, _)| *known == name) {
                return Ok(value.parse()?);
            }
        }
        bail!("TCP has no counter {name}")
    }

    fn open(&self) -> Result<File> {
        let path = self.path();
        File::open(&path).with_context(|| format!("open network namespace {}", path.display()))
    }
}

/// What tells one namespace from another.
pub fn inode(namespace: &Path) -> Option<u64> {
    Some(fs::metadata(namespace).ok()?.ino())
}

/// `ip -batch`: much quicker than many times `ip`.
pub fn ip_batch(namespace: Option<&str>, script: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    if let Some(name) = namespace {
        ip.args(["-netns", name]);
    }
    let mut child = ip
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start `ip` (package iproute2)")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let place = namespace.unwrap_or("this namespace");
        bail!("ip, {place}: {}\n{script}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
