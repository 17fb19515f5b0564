//! One virtual machine: boots, runs, and says how it ended.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, fs};

/// What the guest writes to its console, before the number.
pub const STATUS: &str = "INGRESS-STATUS=";

const MEMORY: &str = "3G";
/// A machine that has said nothing for so long will not begin any more. They begin within a minute.
const BOOT: Duration = Duration::from_secs(300);

/// Why a machine has not said how its tests went: it hung, or its kernel died.
#[derive(Debug)]
pub struct Mute(String);

impl fmt::Display for Mute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mute {}

/// What to boot.
#[derive(Debug)]
pub struct Machine<'a> {
    /// The kernel.
    pub kernel: &'a Path,
    /// Everything else.
    pub initramfs: &'a Path,
    /// That there is a /dev/kvm does not mean that it runs a stock kernel, so this is asked for.
    pub kvm: bool,
}

impl Machine<'_> {
    /// Runs it, and returns what the tests have printed, and how it ended.
    pub fn run(&self, limit: Duration) -> (String, Result<()>) {
        let said = self.initramfs.with_extension("said");
        let result = self.boot(&said, limit);
        (String::from_utf8_lossy(&fs::read(&said).unwrap_or_default()).into_owned(), result)
    }

    fn boot(&self, said: &Path, limit: Duration) -> Result<()> {
        let console = self.initramfs.with_extension("console");
        // With a thread for each processor a machine has once run an instruction that its kernel had just patched.
        let accelerator = if self.kvm { "kvm" } else { "tcg,thread=single" };
        // It shall not outlive whoever started it.
        let mut qemu = Command::new("setpriv");
        qemu.args([
            "--pdeathsig",
            "KILL",
            "qemu-system-x86_64",
            "-M",
            "q35",
            "-accel",
            accelerator,
        ])
        .args(["-cpu", if self.kvm { "host" } else { "max" }])
        .args(["-m", MEMORY, "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", said.display()))
        .arg("-kernel")
        .arg(self.kernel)
        .arg("-initrd")
        .arg(self.initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1 reboot=t mitigations=off"])
        .stdin(Stdio::null());
        let mut process = qemu.spawn().context("start `qemu-system-x86_64`")?;
        let (end, begin) = (Instant::now() + limit, Instant::now() + BOOT);
        while process.try_wait()?.is_none() {
            if Instant::now() > begin && fs::metadata(said).map_or(0, |said| said.len()) == 0 {
                process.kill()?;
                process.wait()?;
                bail!(Mute(format!("nothing runs after {BOOT:?}\n{}", tail(&console))));
            }
            if Instant::now() > end {
                process.kill()?;
                process.wait()?;
                bail!("not ready within {limit:?}\n{}", tail(&console));
            }
            thread::sleep(Duration::from_millis(50));
        }
        let said = fs::read(&console).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let status = said.rsplit_once(STATUS).map(|(_, rest)| rest.trim());
        match status.and_then(|rest| rest.split_whitespace().next()) {
            Some("0") => Ok(()),
            Some(status) => bail!("tests failed ({status})"),
            None => bail!(Mute(format!("the machine stopped without a word\n{}", tail(&console)))),
        }
    }
}

fn tail(console: &Path) -> String {
    let said = fs::read(console).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
