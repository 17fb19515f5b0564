//! `cargo xtask fuzz`: looks for inputs that break what must hold, see `fuzz/src`.

use crate::build;
use crate::setup;
use crate::shell;
use anyhow::{Context, Result, bail};
use std::fs;

#[derive(clap::Args)]
pub struct Args {
    /// For each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Of `fuzz/driver/src/bin`; all if none is named
    targets: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    setup::toolchain()?;
    setup::fuzzer()?;
    let root = shell::workspace_root();
    let driver = root.join("fuzz/driver");
    let all = names(&driver.join("src/bin"))?;
    if let Some(unknown) = args.targets.iter().find(|name| !all.contains(name)) {
        bail!("no target `{unknown}`; there are: {}", all.join(" "));
    }
    let target_dir = build::target().join("fuzz");
    for name in if args.targets.is_empty() { &all } else { &args.targets } {
        // What is found goes here; what is worth keeping, somebody copies to the seeds.
        let corpus = target_dir.join("corpus").join(name);
        fs::create_dir_all(&corpus).with_context(|| format!("make {}", corpus.display()))?;
        let mut cargo = shell::cargo();
        cargo
            .args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir"])
            .arg(&driver)
            .arg("--target-dir")
            .arg(&target_dir)
            .arg(name)
            .args([corpus, root.join("fuzz/corpus").join(name)])
            .args(["--", &format!("-max_total_time={}", args.seconds), "-print_final_stats=1"])
            // libFuzzer's instrumentation works with any compiler that may be asked for it.
            .env("RUSTC_BOOTSTRAP", "1");
        shell::run(&mut cargo)?;
    }
    Ok(())
}

fn names(directory: &std::path::Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}
