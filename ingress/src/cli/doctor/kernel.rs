//! The kernel: its version, what ingressd may do with it, and where programs are pinned.

use std::path::Path;

use super::{Finding, host::Host};
use crate::capabilities;

/// Where the programs are known to be accepted.
const OLDEST: (u32, u32) = (5, 10);
/// From here on programs are attached by tcx links.
const TCX: (u32, u32) = (6, 6);
/// The first of each series in which CVE-2025-38192 is repaired; later series never had it.
const REPAIRED: [(u32, u32, u32); 5] =
    [(5, 15, 209), (6, 1, 167), (6, 6, 95), (6, 12, 35), (6, 15, 4)];

pub(super) fn version(host: &Host) -> Finding {
    let Some((major, minor, patch)) = running(host) else {
        return Finding::warn("kernel", "its version is unknown", "it must be 5.10 or later");
    };
    let name = format!("Linux {major}.{minor}.{patch}");
    if (major, minor) < OLDEST {
        return Finding::fail("kernel", name, "install Linux 5.10 or later");
    }
    let safe = match REPAIRED.iter().find(|series| (series.0, series.1) == (major, minor)) {
        Some(series) => patch >= series.2,
        None => (major, minor) > (6, 15),
    };
    if !safe {
        return Finding::warn(
            "kernel",
            format!("{name} has CVE-2025-38192: translating certain packets can crash it"),
            "install 5.15.209, 6.1.167, 6.6.95, 6.12.35, 6.15.4 or later, unless your distribution has repaired it",
        );
    }
    let hook = if (major, minor) < TCX { "clsact" } else { "tcx" };
    Finding::ok("kernel", format!("{name}, {hook}"))
}

/// Debian's release name stays at patch 0; the true version stands at the end of the other file, behind that of
/// Debian's compiler.
fn running(host: &Host) -> Option<(u32, u32, u32)> {
    let debian = host.read("proc/version").and_then(|text| parse(text.rsplit_once(" Debian ")?.1));
    debian.or_else(|| parse(&host.read("proc/sys/kernel/osrelease")?))
}

fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

/// Those of whoever runs the doctor, who mostly is who would start ingressd.
pub(super) fn capabilities(host: &Host) -> Finding {
    const CHECK: &str = "capabilities";
    let status = host.read("proc/self/status").unwrap_or_default();
    let missing = capabilities::missing_in(&status);
    if missing.is_empty() {
        return Finding::ok(CHECK, "ingressd can be run from here");
    }
    let what = format!("without {} ingressd cannot be run from here", missing.join(", "));
    let root = field(&status, "Uid:").and_then(|uids| uids.split_whitespace().nth(1)) == Some("0");
    if root {
        let remedy = "give them to this container or service; root alone is not enough";
        return Finding::fail(CHECK, what, remedy);
    }
    Finding::warn(
        CHECK,
        what,
        "run the doctor as root; ingress.service gives ingressd what it needs",
    )
}

/// Those of the running ingressd; nothing to say where it has all, or is not ours to look at.
pub(super) fn capabilities_of(host: &Host, pid: u32) -> Option<Finding> {
    let missing = capabilities::missing_in_running(&host.read(&format!("proc/{pid}/status"))?);
    (!missing.is_empty()).then(|| {
        Finding::fail(
            "capabilities",
            format!("ingressd runs without {}", missing.join(", ")),
            "see CapabilityBoundingSet in ingress.service, and restart it",
        )
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

pub(super) fn bpffs(host: &Host, directory: &Path) -> Finding {
    let mounts = host.read("proc/mounts").unwrap_or_default();
    let mounted = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, kind) = (fields.next(), fields.next());
        kind == Some("bpf") && at.is_some_and(|at| directory.starts_with(at))
    });
    if mounted {
        return Finding::ok("bpffs", format!("{} can be made", directory.display()));
    }
    Finding::fail(
        "bpffs",
        format!(
            "{} is in no BPF file system, so flows could not outlive ingressd",
            directory.display()
        ),
        "mount -t bpf bpf /sys/fs/bpf",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};
    use crate::netlink::Snapshot;

    #[test]
    fn kernels_are_told_apart() {
        let debian = |version: &str| {
            format!(
                "Linux version 6.1.0 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14+deb12u1) \
                 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) #1 SMP PREEMPT_DYNAMIC Debian {version}"
            )
        };
        for (release, version, verdict) in [
            ("6.12.41", "", Verdict::Ok),
            ("6.18.0-x", "", Verdict::Ok),
            ("6.8.0-60-generic", "", Verdict::Warn),
            ("6.1.0-37-amd64", &debian("6.1.140-1 (2025-05-22)"), Verdict::Warn),
            ("6.1.0-47-amd64", &debian("6.1.170-1 (2026-03-04)"), Verdict::Ok),
            ("5.4.0", "", Verdict::Fail),
        ] {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
            std::fs::write(root.path().join("proc/sys/kernel/osrelease"), release).unwrap();
            std::fs::write(root.path().join("proc/version"), version).unwrap();
            let finding = super::version(&Host::at(root.path(), Snapshot::default()));
            assert_eq!(finding.verdict, verdict, "{release} {finding:?}");
        }
    }

    #[test]
    fn each_capability_is_needed() {
        for (lacks, verdict, named) in [
            ("000001ffffffffff", Verdict::Ok, ""),
            ("000001bfffffffff", Verdict::Fail, "CAP_PERFMON"),
            ("0000017fffffffff", Verdict::Fail, "CAP_BPF"),
            ("000001ffffffdfff", Verdict::Fail, "CAP_NET_RAW"),
            ("000001ffffffcfff", Verdict::Fail, "CAP_NET_ADMIN, CAP_NET_RAW"),
        ] {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
            let status = format!("Uid:\t0\t0\t0\t0\nCapEff:\t{lacks}\n");
            std::fs::write(root.path().join("proc/self/status"), status).unwrap();
            let finding = super::capabilities(&Host::at(root.path(), Snapshot::default()));
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.what.contains(named), "{finding:?}");
        }
    }
}
