//! `cargo xtask test --kernel …`: the programs and the lab under other kernels, in virtual machines.
//!
//! `debian` fetches kernels, `image` packs what is to run into an initramfs, `machine` boots it.

mod debian;
mod image;
mod machine;

use crate::{setup, shell};
use anyhow::{Context, Result, bail};
use debian::Debian;
use image::Image;
use machine::Machine;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What runs in each machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The verifier has a look at every program.
    Loads,
    /// The golden packets, and the lab with the kernel's own WireGuard.
    Lab,
}

impl Extent {
    /// Test binaries of the package `ingress-tests`, and what to run of each.
    fn tests(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Loads => &[("golden", "loads::")],
            // On every wire the verifier works anew, which takes minutes there: what shows the hooks will do.
            Self::Lab => &[
                ("ipv6", ""),
                ("ipv4_by_name", ""),
                ("golden", "--skip on_wire::"),
                ("golden", "on_wire::a_spliced_flow on_wire::batches"),
            ],
        }
    }

    /// Emulation is slow, and slower still when the machine has other things to do.
    fn limit(self) -> Duration {
        match self {
            Self::Loads => Duration::from_secs(120),
            Self::Lab => Duration::from_secs(1800),
        }
    }
}

/// Fetches what is needed to run machines with these kernels.
pub fn prepare(series: &[String]) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!("virtual machines for other kernels are made on x86-64 only");
    }
    let debian = Debian::open()?;
    setup::virtual_machines(|| debian.backports())?;
    series.iter().try_for_each(|series| debian.kernel(series).map(drop))
}

/// Runs the tests under the newest Debian kernel of each series, such as `6.12`; `newest` is the newest of all.
pub fn run(series: &[String], extent: Extent, kvm: bool) -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!("virtual machines for other kernels are made on x86-64 only");
    }
    let debian = Debian::open()?;
    setup::virtual_machines(|| debian.backports())?;
    let binaries = binaries(extent)?;
    let mut failed = Vec::new();
    for series in series {
        let begin = Instant::now();
        let tested = debian.kernel(series).and_then(|kernel| {
            eprintln!("kernel {}", kernel.release);
            let image = Image::build(&kernel, &binaries, extent)?;
            Machine { kernel: &kernel.image, initramfs: image.path(), kvm }.run(extent.limit())?;
            Ok(kernel.release)
        });
        let seconds = begin.elapsed().as_secs();
        match tested {
            Ok(release) => eprintln!("kernel {release}: well, in {seconds} s"),
            Err(error) => {
                eprintln!("kernel {series}: {error:#}, after {seconds} s");
                failed.push(series.as_str());
            }
        }
    }
    if !failed.is_empty() {
        bail!("not under every kernel: {}", failed.join(", "));
    }
    Ok(())
}

/// Builds what is to run, and says where it is.
fn binaries(extent: Extent) -> Result<Vec<PathBuf>> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--package", "ingress-tests", "--no-run", "--message-format=json"]);
    for (test, _) in extent.tests() {
        cargo.args(["--test", test]);
    }
    let built = shell::output(&mut cargo).context("build the tests that are to run")?;
    let mut found = Vec::new();
    for (test, _) in extent.tests() {
        // One file a line: cargo's JSON, of which this is all that is needed.
        let file = built
            .split("\"executable\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .find(|file| file.rsplit('/').next().is_some_and(|name| is_build_of(name, test)))
            .with_context(|| format!("cargo built no test `{test}`"))?;
        found.push(PathBuf::from(file));
    }
    let beside = found.first().and_then(|file| file.ancestors().nth(2)).context("a target")?;
    found.extend(["ingressd", "ingressctl", "lab"].map(|name| beside.join(name)));
    Ok(found)
}

/// Whether a file is called `<test>-<hash>`.
fn is_build_of(file: &str, test: &str) -> bool {
    file.rsplit_once('-').is_some_and(|(name, _)| name == test)
}
