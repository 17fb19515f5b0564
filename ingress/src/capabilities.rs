//! What a process may do, and what ingressd needs of it (capabilities(7)).

use anyhow::{Context, Result, bail};
use std::{fs, io};

/// Numbers of `linux/capability.h`.
const NET_ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const NET_RAW: (u32, &str) = (13, "CAP_NET_RAW");
const PERFMON: (u32, &str) = (38, "CAP_PERFMON");
const BPF: (u32, &str) = (39, "CAP_BPF");

/// To start. PERFMON is for the verifier and NET_RAW for the raw sockets; both are given up once the daemon is ready.
/// So is CHOWN, for the control socket's group: without it the daemon starts all the same.
const NEEDED: [(u32, &str); 4] = [NET_ADMIN, NET_RAW, PERFMON, BPF];
/// To run: attaching, netlink, maps.
const KEPT: [(u32, &str); 2] = [NET_ADMIN, BPF];

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits in two words.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: one word of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// What one who is to start ingressd lacks, by the effective set of its `/proc/<pid>/status`.
#[must_use]
pub fn missing_in(status: &str) -> Vec<&'static str> {
    missing(&NEEDED, status)
}

/// What an ingressd that runs lacks.
#[must_use]
pub fn missing_in_running(status: &str) -> Vec<&'static str> {
    missing(&KEPT, status)
}

fn missing(needed: &[(u32, &'static str)], status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0);
    let lacks = needed.iter().filter(|(number, _)| effective & (1 << number) == 0);
    lacks.map(|(_, name)| *name).collect()
}

/// Gives up, for the calling thread and for good, whatever only starting needs.
///
/// # Errors
/// As the kernel says.
pub fn keep_what_running_needs() -> io::Result<()> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: header and sets are what version 3 of the call reads and writes.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    let kept = KEPT.iter().fold(0u64, |kept, (number, _)| kept | 1 << number);
    for (word, set) in sets.iter_mut().enumerate() {
        let kept = (kept >> (32 * word)) as u32;
        set.effective &= kept;
        set.permitted &= kept;
        set.inheritable = 0;
    }
    // SAFETY: as before; the call writes nothing here.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// As [`keep_what_running_needs`], for a thread that goes on with what it has, should the kernel refuse.
pub fn give_up() {
    if let Err(error) = keep_what_running_needs() {
        tracing::error!(%error, "a thread keeps capabilities that it does not need");
    }
}

/// Says what this process lacks; the kernel's own refusals only say that something was not permitted.
///
/// # Errors
/// Where something is missing.
pub fn require() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let missing = missing_in(&status);
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "{} missing: start ingressd as root, or with ingress.service (CapabilityBoundingSet= there lists what it needs)",
        missing.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::{keep_what_running_needs, missing_in, missing_in_running};

    /// In a thread of its own, which has nothing to lose.
    #[test]
    fn what_is_given_up_is_gone() {
        let read = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let (before, after) = std::thread::spawn(move || {
            let before = read();
            keep_what_running_needs().unwrap();
            (before, read())
        })
        .join()
        .unwrap();
        assert_eq!(missing_in_running(&after), missing_in_running(&before));
        let gone = missing_in(&after);
        assert!(gone.contains(&"CAP_PERFMON") && gone.contains(&"CAP_NET_RAW"), "{gone:?}");
        assert!(after.contains("CapInh:\t0000000000000000\n"), "{after}");
    }

    #[test]
    fn everything_nothing_and_some() {
        assert!(missing_in("Name:\tx\nCapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(missing_in("CapEff:\t0000000000000000\n").len(), 4);
        assert_eq!(missing_in("").len(), 4);
        assert_eq!(missing_in("CapEff:\t000000c000002000\n"), ["CAP_NET_ADMIN"]);
        assert_eq!(missing_in("CapEff:\t0000008000003000\n"), ["CAP_PERFMON"]);
        assert!(missing_in_running("CapEff:\t0000008000001000\n").is_empty());
        assert_eq!(missing_in_running("CapEff:\t0000000000001000\n"), ["CAP_BPF"]);
    }
}
