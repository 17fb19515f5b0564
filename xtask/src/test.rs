//! `cargo xtask test`: everything that CI checks.

use crate::kernel::{self, Extent};
use crate::{build, deb, setup, shell};
use anyhow::Result;

#[derive(clap::Args)]
pub struct Args {
    /// Under these Debian kernels only, in virtual machines: `5.10,6.1,newest`
    #[arg(long, value_delimiter = ',')]
    kernel: Vec<String>,
    /// Of that, only whether the kernels' verifiers take the programs
    #[arg(long, requires = "kernel")]
    loads: bool,
    /// Virtual machines by KVM; /dev/kvm alone does not tell that it works
    #[arg(long, requires = "kernel")]
    kvm: bool,
    /// Passed on to `cargo test`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    cargo: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    shell::need_root("the tests' lab")?;
    setup::run()?;
    // The lab starts the daemon as a program; `cargo test` alone would not build that.
    build::daemon_and_lab()?;
    if !args.kernel.is_empty() {
        let extent = if args.loads { Extent::Loads } else { Extent::All };
        let series: Vec<_> = args.kernel.iter().map(|series| (series.as_str(), extent)).collect();
        return kernel::run(&kernel::prepare(&series)?, args.kvm);
    }
    // A mirror that cannot be reached is no reason to test nothing.
    let prepared = said(deb::rehearsal::prepare());
    // First, so that the run ends with the summary of the tests.
    let others = if args.cargo.is_empty() {
        said(kernel::prepare_ci().and_then(|trials| kernel::run(&trials, false)))
    } else {
        Ok(())
    };
    let mut cargo = shell::cargo();
    cargo.args(["test", "--workspace", "--exclude", "ingress-ebpf", "--no-fail-fast"]);
    shell::run(cargo.args(&args.cargo))?;
    prepared.and(others)
}

/// Says what is wrong at once, for the end is far.
fn said(result: Result<()>) -> Result<()> {
    result.inspect_err(|error| eprintln!("{error:#}"))
}
