//! The directory of pins: whom it is open to, and what becomes of flows and daemon when it goes, or when another
//! version has left its own in it.

use anyhow::{Context, Result, ensure};
use ingress_common::maps::ABI;
use ingress_tests::cleanup;
use ingress_tests::daemon::{config, once};
use ingress_tests::process::{self, wait_until};
use ingress_tests::shared::{Stage, stage};
use ingress_tests::transfers::{Transfers, fetch};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

#[test]
fn nobody_else_can_open_anything() -> Result<()> {
    let stage = stage();
    let root = cleanup::bpffs(stage.lab.id());
    assert_eq!(mode(&root)?, 0o700);
    let pins = files(&root)?;
    assert!(pins.len() > 10, "{pins:?}");
    for pin in pins {
        assert_eq!(mode(&pin)?, 0o600, "{}", pin.display());
        assert_eq!(fs::metadata(&pin)?.uid(), 0, "{}", pin.display());
    }
    assert_eq!(mode(stage.daemon()?.socket())?, 0o660);
    Ok(())
}

/// `umount -l`, and mounted again by somebody who noticed.
#[test]
fn a_bpffs_that_goes_and_comes_back() -> Result<()> {
    let mut stage = stage();
    let bpffs = Bpffs::mount(&stage)?;
    let mut unusual = Unusual { stage: &mut stage, over: false };
    let stage = &mut *unusual.stage;
    let usual = config(&stage.lab);
    let pinned_before = cleanup::bpffs(stage.lab.id());
    let root = bpffs.0.join("ingress");
    let moved =
        usual.replace(pinned_before.to_str().context("a path")?, root.to_str().context("a path")?);
    ensure!(moved != usual);
    swap(stage, &usual, &moved)?;

    let transfers = Transfers::start(stage, "unmounted")?;
    bpffs.unmount()?;
    fetch(stage, "/?unmounted")?;
    look_again(stage)?;
    wait_until(SOON, "it is missed", || {
        let log = fs::read_to_string(stage.daemon().expect("runs").log()).unwrap_or_default();
        log.contains("flows would not survive a restart")
    })?;
    assert!(!root.exists(), "pins have no place in another file system");
    bpffs.mount_again()?;
    look_again(stage)?;
    let pins = root.join(format!("v{ABI}"));
    wait_until(SOON, "the pins are back", || {
        pins.join("FLOWS").exists() && pins.join("links/eth0").exists()
    })?;
    assert_eq!(mode(&root)?, 0o700);
    // The new directory is as much the daemon's own as the old one was.
    for command in ["run", "detach"] {
        let other = moved.replace("control.sock", "other.sock").replace("9469", "9470");
        let refused = once(&stage.lab, &other, &[], &[command])?;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("another ingressd works in"), "{command}: {said}");
    }
    stage.daemon_mut()?.kill();
    stage.daemon_mut()?.resume()?;
    assert!(stage.daemon()?.flows()?.len() >= 2, "flows are lost");
    transfers.finish(stage)?;
    swap(stage, &moved, &usual)?;
    fetch(stage, "/?usual")?;
    unusual.over = true;
    Ok(())
}

/// From another layout of the maps to this one: its flows go on until the operator says that they may end.
#[test]
fn an_upgrade_from_another_layout() -> Result<()> {
    let mut stage = stage();
    let root = cleanup::bpffs(stage.lab.id());
    let transfers = Transfers::start(&stage, "upgrade")?;
    stage.daemon_mut()?.stop()?;
    // Pins of a build that is not this one, with its programs at work.
    let (ours, theirs) = (root.join(format!("v{ABI}")), root.join(format!("v{}", ABI + 1)));
    fs::rename(&ours, &theirs)?;
    let usual = config(&stage.lab);
    let refused = once(&stage.lab, &usual, &[], &["run"])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!ours.exists(), "nothing is begun beside what is there");
    assert!(transfers.last(), "a refused daemon does no harm");

    let detached = once(&stage.lab, &usual, &[], &["detach"])?;
    assert!(detached.status.success(), "{detached:?}");
    assert!(!theirs.exists());
    stage.daemon_mut()?.resume()?;
    fetch(&stage, "/?upgraded")?;
    wait_until(SOON, "the old connections end", || !transfers.last())
}

/// A daemon with another configuration, and nothing left of the one before.
fn swap(stage: &mut Stage, from: &str, to: &str) -> Result<()> {
    stage.daemon_mut()?.stop()?;
    let detached = once(&stage.lab, from, &[], &["detach"])?;
    ensure!(detached.status.success(), "{detached:?}");
    stage.daemon()?.configure(to)?;
    stage.daemon_mut()?.resume()
}

/// The daemon looks every 30 s, and whenever the network changes.
fn look_again(stage: &Stage) -> Result<()> {
    stage.lab.vps.ip("addr add 198.51.100.77/32 dev lo\naddr del 198.51.100.77/32 dev lo\n")
}

fn mode(path: &Path) -> Result<u32> {
    let file = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
    Ok(file.permissions().mode() & 0o7777)
}

/// Every pin below a directory.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// A stage whose daemon works elsewhere than the other tests expect. Of a test that fails midway the next ones shall
/// suffer nothing: the daemon ends with it, and a stage without one is built anew.
struct Unusual<'a> {
    stage: &'a mut Stage,
    over: bool,
}

impl Drop for Unusual<'_> {
    fn drop(&mut self) {
        if !self.over
            && let Some(daemon) = &mut self.stage.daemon
        {
            daemon.kill();
        }
    }
}

/// A bpffs of the test's own, since the machine's is everybody's.
struct Bpffs(PathBuf);

impl Bpffs {
    fn mount(stage: &Stage) -> Result<Self> {
        let bpffs = Self(cleanup::own_bpffs(stage.lab.id()));
        fs::create_dir_all(&bpffs.0)?;
        bpffs.mount_again()?;
        Ok(bpffs)
    }

    fn mount_again(&self) -> Result<()> {
        process::output(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&self.0))?;
        Ok(())
    }

    fn unmount(&self) -> Result<()> {
        process::output(Command::new("umount").arg("--lazy").arg(&self.0))?;
        Ok(())
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}
