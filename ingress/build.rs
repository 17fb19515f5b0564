//! Builds the eBPF programs, so that `ingressd` carries them in itself.

use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use xtask::toolchain::Bpf;

/// A ready object to embed instead, for machines that cannot build one.
const PREBUILT: &str = "INGRESS_EBPF_OBJECT";

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("run by cargo")?);
    let root = manifest.parent().context("the crate lies in the workspace")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("run by cargo")?);

    for input in [
        "Cargo.lock",
        "Cargo.toml",
        "ingress-common/Cargo.toml",
        "ingress-common/src",
        "ingress-ebpf/Cargo.toml",
        "ingress-ebpf/src",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo::rerun-if-env-changed={PREBUILT}");

    let object = match env::var_os(PREBUILT) {
        Some(path) => PathBuf::from(path),
        None if cfg!(feature = "log-packets") => {
            Bpf::find()?.build(root, &shared_target(&out).join("log"), &["log-packets"])?
        }
        None => Bpf::find()?.build(root, &shared_target(&out), &[])?,
    };
    let embedded = out.join("ingress-ebpf.o");
    fs::copy(&object, &embedded)
        .with_context(|| format!("copy {} to {}", object.display(), embedded.display()))?;
    Ok(())
}

/// One directory for debug, release and clippy: the programs are the same in all of them.
fn shared_target(out: &Path) -> PathBuf {
    // target/<profile>/build/<package>/out
    out.ancestors().nth(4).unwrap_or(out).join("bpf")
}
