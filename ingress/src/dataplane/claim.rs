//! One ingressd for one directory: two would write each other's tables.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::pins;

/// A directory of the bpffs, claimed until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    directory: Flock<fs::File>,
}

impl Claim {
    /// Claims it, and makes it where it is missing.
    ///
    /// # Errors
    /// Where no bpffs is mounted, or another process has claimed it.
    pub fn take(bpffs: &Path) -> Result<Self> {
        pins::require_bpffs(bpffs)?;
        if !bpffs.exists() {
            fs::create_dir_all(bpffs).with_context(|| format!("create {}", bpffs.display()))?;
            // Names of pins say nothing secret, but nobody else has any business there.
            fs::set_permissions(bpffs, fs::Permissions::from_mode(0o700))
                .with_context(|| format!("close {} to others", bpffs.display()))?;
        }
        let directory =
            fs::File::open(bpffs).with_context(|| format!("open {}", bpffs.display()))?;
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(directory) => Ok(Self { path: bpffs.to_owned(), directory }),
            Err((_, Errno::EWOULDBLOCK)) => bail!(
                "another ingressd works in {}: stop it first, or give this one a [daemon] bpffs of its own",
                bpffs.display()
            ),
            Err((_, error)) => Err(error).with_context(|| format!("lock {}", bpffs.display())),
        }
    }

    /// Claims what stands at its place now, should somebody have removed the directory or unmounted its file
    /// system: a lock on what is gone keeps nobody out.
    ///
    /// # Errors
    /// As [`Self::take`]; the old claim stays then.
    pub fn keep(&mut self) -> Result<()> {
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        let ours = self.directory.metadata().map(identity).ok();
        if ours.is_none() || fs::metadata(&self.path).map(identity).ok() != ours {
            *self = Self::take(&self.path)?;
        }
        Ok(())
    }
}
