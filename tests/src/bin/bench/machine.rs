//! What the whole machine spends: whoever saves on the VPS by costing elsewhere gains nothing here.

use anyhow::{Context, Result};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// How long it is watched before anything is measured.
const WATCHED: Duration = Duration::from_secs(2);

/// Where this is measured: the machine, its kernel, and how busy others keep it.
pub fn describe() -> Result<String> {
    let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN)?.context("number of processors")?;
    let before = busy()?;
    std::thread::sleep(WATCHED);
    let busy = (busy()? - before) / WATCHED.as_secs_f64() / cpus as f64 * 100.0;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let model = fs::read_to_string("/proc/cpuinfo")?;
    let model = model.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let mut versions = String::new();
    for (program, flag) in [("nginx", "-v"), ("haproxy", "-v"), ("wireguard-go", "--version")] {
        // Where one is missing, whoever needs it says so.
        let Ok(output) = Command::new(program).arg(flag).output() else { continue };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let _ = write!(versions, "; {}", said.lines().next().unwrap_or(program).trim());
    }
    Ok(format!(
        "ingress {}; Linux {}; {cpus} processors, {model}; others kept {busy:.0} % of it busy just \
         before{versions}.",
        env!("CARGO_PKG_VERSION"),
        release.trim()
    ))
}

/// Processor time spent by everything since boot, in seconds.
pub fn busy() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system idle iowait irq softirq (proc_stat(5))
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = fields[..] else {
        anyhow::bail!("/proc/stat begins with {line}");
    };
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("clock ticks")? as f64;
    Ok((user + nice + system + irq + softirq) / ticks)
}

/// Memory that could be had, in octets.
pub fn available() -> Result<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// Resident memory of a process and its children, in octets.
pub fn resident(pid: Pid) -> Result<u64> {
    // One that has just ended has none.
    let mut all = kilobytes(&format!("/proc/{pid}/status"), "VmRSS:").unwrap_or(0);
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    for child in children.split_whitespace() {
        all += resident(Pid::from_raw(child.parse()?))?;
    }
    Ok(all)
}

/// How long a process has run and how often it was woken, as (seconds, switches).
pub fn work(pid: Pid) -> Result<(f64, u64)> {
    // The process's own clock keeps what threads have spent that are no more.
    let spent = clock_gettime(clock_getcpuclockid(pid)?)?;
    let mut switches = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        switches += line.context("voluntary_ctxt_switches")?.trim().parse::<u64>()?;
    }
    Ok((Duration::from(spent).as_secs_f64(), switches))
}

fn kilobytes(file: &str, key: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.with_context(|| format!("no {key} in {file}"))?.parse::<u64>()? * 1024)
}
