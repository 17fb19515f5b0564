//! What the test of the package needs: two versions of it, and a clean Debian to install them on.

use super::Args;
use crate::{build, debian, setup, shell};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The same Debian as here: a package is for the release that it was built on, or later ones.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,wireguard-tools";

/// Makes them where `tests/src/container.rs` looks, of the programs that are built for the other tests.
pub fn prepare() -> Result<()> {
    setup::containers()?;
    clean_debian(&build::directory(false).join("deb/clean"))?;
    for revision in [1, 2] {
        super::pack(&Args { revision, unoptimised: true })?;
    }
    Ok(())
}

fn clean_debian(root: &Path) -> Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    eprintln!("setup: a clean Debian, to try the package on");
    let scratch = root.with_extension("unfinished");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    }
    fs::create_dir_all(&scratch)?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}")]);
    let codename = debian::codename()?;
    debootstrap.arg(&codename).arg(&scratch).arg(debian::mirror_with(&codename)?);
    shell::run(&mut debootstrap)?;
    fs::rename(&scratch, root).with_context(|| format!("make {}", root.display()))
}
