//! What a process may do, and what ingressd needs of it (capabilities(7)).

use anyhow::{Context, Result, bail};
use std::fs;

/// Numbers of `linux/capability.h`, with what each is for.
const NEEDED: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

/// What is missing in the effective set of a `/proc/<pid>/status`.
#[must_use]
pub fn missing_in(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0);
    NEEDED
        .into_iter()
        .filter(|(number, _)| effective & (1 << number) == 0)
        .map(|(_, name)| name)
        .collect()
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
        "{} missing: start ingressd as root, or from its unit, whose AmbientCapabilities= has what it needs",
        missing.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::missing_in;

    #[test]
    fn everything_nothing_and_some() {
        assert!(missing_in("Name:\tx\nCapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(missing_in("CapEff:\t0000000000000000\n").len(), 4);
        assert_eq!(missing_in("").len(), 4);
        assert_eq!(missing_in("CapEff:\t000000c000002000\n"), ["CAP_NET_ADMIN"]);
        assert_eq!(missing_in("CapEff:\t0000008000003000\n"), ["CAP_PERFMON"]);
    }
}
