//! `cargo xtask test --kernel …`: the programs and the lab under other kernels, in virtual machines.
//!
//! `debian` fetches kernels, `image` packs what is to run into an initramfs, `machine` boots it.

mod debian;
mod image;
mod machine;

use crate::{setup, shell};
use anyhow::{Context, Result, bail};
use debian::{Debian, Kernel};
use image::Image;
use machine::{Machine, Mute};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What runs in each machine. Each one has all that those before it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// The verifier has a look at every program.
    Loads,
    /// The golden packets.
    Golden,
    /// The lab, with the kernel's own WireGuard.
    Lab,
    /// Packets on real devices.
    All,
}

/// What CI tries: the oldest kernel that is supported, the newest, and what Debian has in between. The lab stands under
/// one that attaches by clsact, and under one that does by tcx.
const CI: [(&str, Extent); 4] = [
    ("5.10", Extent::Lab),
    ("newest", Extent::Lab),
    ("6.1", Extent::Golden),
    ("6.12", Extent::Golden),
];

impl Extent {
    /// Test binaries of the package `ingress-tests`, and what to run of each.
    fn tests(self) -> &'static [(&'static str, &'static str)] {
        // On every wire the verifier works anew, which takes minutes there: what shows the hooks and the redirect
        // will do.
        const ALL: &[(&str, &str)] = &[
            ("golden", "--skip on_wire:: --skip next_hops:: --skip with_and_without_ethernet"),
            ("ipv6", ""),
            ("ipv4_by_name", ""),
            (
                "golden",
                "on_wire::a_spliced_flow on_wire::batches next_hops:: with_and_without_ethernet",
            ),
        ];
        match self {
            Self::Loads => &[("golden", "loads::")],
            Self::Golden => ALL.split_at(1).0,
            Self::Lab => ALL.split_at(3).0,
            Self::All => ALL,
        }
    }

    /// Emulation is slow, and slower still when the machine has other things to do.
    fn limit(self) -> Duration {
        match self {
            Self::Loads => Duration::from_secs(180),
            Self::Golden => Duration::from_secs(1200),
            Self::Lab | Self::All => Duration::from_secs(2400),
        }
    }
}

/// A kernel, and what to run under it.
#[derive(Debug)]
pub struct Trial {
    series: String,
    kernel: Kernel,
    extent: Extent,
}

/// Fetches what is needed to run machines with the newest Debian kernel of each series, such as `6.12`; `newest` is
/// the newest of all.
pub fn prepare(series: &[(&str, Extent)]) -> Result<Vec<Trial>> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!("virtual machines for other kernels are made on x86-64 only");
    }
    let debian = Debian::open()?;
    setup::virtual_machines(|| debian.backports())?;
    let fetch = |(series, extent): &(&str, Extent)| {
        let kernel = debian.kernel(series).with_context(|| {
            format!("there is no Linux {series} to test under; see whether apt reaches its mirror")
        })?;
        Ok(Trial { series: (*series).to_owned(), kernel, extent: *extent })
    };
    series.iter().map(fetch).collect()
}

/// The same, for what CI tries.
pub fn prepare_ci() -> Result<Vec<Trial>> {
    prepare(&CI)
}

/// Runs them, two at a time: an emulated machine mostly keeps one processor busy.
pub fn run(trials: &[Trial], kvm: bool) -> Result<()> {
    let most = trials.iter().map(|trial| trial.extent).max().unwrap_or(Extent::Loads);
    let binaries = binaries(most)?;
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = trial.run(&binaries, kvm) {
                eprintln!("{error:#}");
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(trial.series.as_str());
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("not under every kernel: {}", failed.join(", "));
    }
    Ok(())
}

impl Trial {
    fn run(&self, binaries: &[PathBuf], kvm: bool) -> Result<()> {
        let Self { kernel, extent, .. } = self;
        let begin = Instant::now();
        eprintln!("kernel {}: {extent:?}", kernel.release);
        let image = Image::build(kernel, binaries, *extent)?;
        let machine = Machine { kernel: &kernel.image, initramfs: image.path(), kvm };
        let (said, result) = match machine.run(extent.limit()) {
            // A kernel that our programs bring down goes down again; one that the emulator does, hardly.
            (said, Err(error)) if !kvm && error.is::<Mute>() => {
                eprintln!("{said}kernel {}: {error}\nonce more", kernel.release);
                machine.run(extent.limit())
            }
            ended => ended,
        };
        let seconds = begin.elapsed().as_secs();
        // In one piece: the other machine may be ready at the same time.
        let verdict = if result.is_ok() { "well" } else { "NOT well" };
        println!("{said}kernel {}: {verdict}, in {seconds} s", kernel.release);
        result.with_context(|| format!("kernel {}", kernel.release))
    }
}

/// Builds what is to run, and says where it is.
fn binaries(extent: Extent) -> Result<Vec<PathBuf>> {
    let mut cargo = shell::cargo();
    cargo.args(["test", "--package", "ingress-tests", "--no-run", "--message-format=json"]);
    let mut tests: Vec<&str> = extent.tests().iter().map(|(test, _)| *test).collect();
    tests.sort_unstable();
    tests.dedup();
    for test in &tests {
        cargo.args(["--test", test]);
    }
    let built = shell::output(&mut cargo).context("build the tests that are to run")?;
    let mut found = Vec::new();
    for test in tests {
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
