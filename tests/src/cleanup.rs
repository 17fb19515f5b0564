//! Removes labs: at the end of one's life, however it came, and leftovers of earlier ones.
//!
//! A lab is alive while its directory's lock is held; the kernel lets go of that when the owner dies.

use crate::netns::inode;
use crate::programs;
use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

const NAMESPACES: &str = "/run/netns";
const DIRECTORIES: &str = "/tmp";
const BPFFS: &str = "/sys/fs/bpf";
const NAMESPACE_PREFIX: &str = "ingress-";
const DIRECTORY_PREFIX: &str = "ingress-lab-";

/// What tells a lab from all others on the machine; short, since interfaces are named by it.
#[must_use]
pub fn new_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let pid = std::process::id();
    match NEXT.fetch_add(1, Ordering::Relaxed) {
        0 => format!("{pid:x}"),
        n => format!("{pid:x}{}", (b'g' + (n % 20) as u8) as char),
    }
}

/// A lab's directory.
#[must_use]
pub fn directory(id: &str) -> PathBuf {
    // Not $TMPDIR: everybody who cleans must look where everybody builds.
    Path::new(DIRECTORIES).join(format!("{DIRECTORY_PREFIX}{id}"))
}

/// The full name of one of a lab's namespaces.
#[must_use]
pub fn namespace(id: &str, role: &str) -> String {
    format!("{NAMESPACE_PREFIX}{id}-{role}")
}

/// The interface of one end of a lab's tunnel: `v` on the VPS, `h` at home.
#[must_use]
pub fn tunnel(id: &str, side: &str) -> String {
    format!("wg{side}{id}")
}

/// Where the daemon of a lab pins its maps.
#[must_use]
pub fn bpffs(id: &str) -> PathBuf {
    Path::new(BPFFS).join(format!("{NAMESPACE_PREFIX}{id}"))
}

/// Where a test may mount a bpffs of its own.
#[must_use]
pub fn own_bpffs(id: &str) -> PathBuf {
    directory(id).join("bpf")
}

/// Makes a lab's directory, which marks it as alive for as long as the file is open.
pub fn claim(id: &str) -> Result<File> {
    let (hidden, dir) = (Path::new(DIRECTORIES).join(format!(".ingress-{id}")), directory(id));
    fs::create_dir_all(&hidden).with_context(|| format!("make {}", hidden.display()))?;
    let alive = File::create(hidden.join("alive"))?;
    alive.try_lock().with_context(|| format!("lock {}/alive", hidden.display()))?;
    // It appears locked, lest somebody who cleans takes it for a leftover.
    fs::rename(&hidden, &dir).with_context(|| format!("make {}", dir.display()))?;
    Ok(alive)
}

/// Ends every process in a lab's namespaces and removes all that it left on the machine.
pub fn remove(id: &str) {
    let names = namespaces_of(id);
    kill_inside(&names);
    for name in &names {
        // Somebody else may be cleaning too.
        let _ = Command::new("ip").args(["netns", "delete", name]).stderr(Stdio::null()).status();
    }
    for side in ["v", "h"] {
        // wireguard-go has no time to do that when killed.
        let _ = fs::remove_file(format!("/var/run/wireguard/{}.sock", tunnel(id, side)));
    }
    remove_pins(&bpffs(id));
    let _ = umount2(&own_bpffs(id), MntFlags::MNT_DETACH);
    let _ = fs::remove_dir_all(directory(id));
}

/// Removes the labs whose owners are dead, and says which those were.
pub fn remove_stale() -> Vec<String> {
    let stale: Vec<String> = all().into_iter().filter(|id| !is_alive(id)).collect();
    for id in &stale {
        remove(id);
    }
    stale
}

/// The labs there are, dead or alive.
#[must_use]
pub fn all() -> BTreeSet<String> {
    let namespaces = entries(Path::new(NAMESPACES)).into_iter().filter_map(|name| {
        let (id, _) = name.strip_prefix(NAMESPACE_PREFIX)?.rsplit_once('-')?;
        Some(id.to_owned())
    });
    let directories = entries(Path::new(DIRECTORIES))
        .into_iter()
        .filter_map(|name| Some(name.strip_prefix(DIRECTORY_PREFIX)?.to_owned()));
    namespaces.chain(directories).collect()
}

/// Whether the lab has an owner.
#[must_use]
pub fn is_alive(id: &str) -> bool {
    let Ok(file) = File::open(directory(id).join("alive")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Removes the lab when its owner is gone: a process apart, since tests end by exit, panic or signal.
#[derive(Debug)]
pub struct Reaper {
    process: Child,
    lifeline: Option<ChildStdin>,
}

impl Reaper {
    /// Starts the watch.
    pub fn start(id: &str) -> Result<Self> {
        let mut process = Command::new(programs::find("lab")?)
            .args(["reap", id])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start the reaper")?;
        let lifeline = process.stdin.take();
        Ok(Self { process, lifeline })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.process.wait();
    }
}

/// What the reaper does.
pub fn reap(id: &str) {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    remove(id);
}

fn namespaces_of(id: &str) -> Vec<String> {
    let prefix = namespace(id, "");
    entries(Path::new(NAMESPACES)).into_iter().filter(|name| name.starts_with(&prefix)).collect()
}

fn kill_inside(names: &[String]) {
    let inodes: Vec<u64> =
        names.iter().filter_map(|name| inode(&Path::new(NAMESPACES).join(name))).collect();
    for _ in 0..100 {
        let inside: Vec<Pid> = entries(Path::new("/proc"))
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(|pid: &i32| {
                inode(Path::new(&format!("/proc/{pid}/ns/net")))
                    .is_some_and(|namespace| inodes.contains(&namespace))
            })
            .map(Pid::from_raw)
            .collect();
        if inside.is_empty() {
            return;
        }
        for pid in inside {
            let _ = kill(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// bpffs has directories and pins only; `remove_dir_all` works there too, but not on a missing one.
fn remove_pins(dir: &Path) {
    if dir.is_dir() {
        let _ = fs::remove_dir_all(dir);
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let Ok(dir) = fs::read_dir(dir) else { return Vec::new() };
    dir.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
