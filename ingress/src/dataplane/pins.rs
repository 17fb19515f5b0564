//! The directory in the bpffs where maps and links outlive the daemon.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use ingress_common::maps::ABI;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

/// The pins of one map layout.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Makes the directory of this build's layout.
    ///
    /// # Errors
    /// Where no bpffs is mounted, or maps of another layout are still in use.
    pub fn open(bpffs: &Path) -> Result<Self> {
        require_bpffs(bpffs)?;
        let pins = Self { root: bpffs.join(format!("v{ABI}")) };
        if let Some(other) = Self::all(bpffs)?.into_iter().find(|other| other.root != pins.root) {
            bail!(
                "{} holds maps of another layout than this ingressd's (v{ABI}). Run `ingressd detach`, which \
                 ends the flows in them, or start the ingressd that made them",
                other.root.display()
            );
        }
        fs::create_dir_all(pins.root.join("links"))
            .with_context(|| format!("create {}", pins.root.display()))?;
        Ok(pins)
    }

    /// The pins of every layout below `bpffs`.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn all(bpffs: &Path) -> Result<Vec<Self>> {
        let entries = match fs::read_dir(bpffs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("read {}", bpffs.display())),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("read {}", bpffs.display()))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix('v'));
            if number.is_some_and(|number| number.parse::<u32>().is_ok()) {
                all.push(Self { root: entry.path() });
            }
        }
        Ok(all)
    }

    /// Where the maps are.
    #[must_use]
    pub fn maps(&self) -> &Path {
        &self.root
    }

    /// Where the link of an interface is, or the note of a clsact filter. bpffs allows no dots in names.
    #[must_use]
    pub fn link(&self, interface: &str) -> PathBuf {
        self.root.join("links").join(interface.replace('.', ","))
    }

    /// The interfaces that have a link.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join("links")) else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|name| name.replace(',', "."))
            .collect()
    }

    /// Removes the link of an interface; the kernel then detaches it.
    pub fn remove_link(&self, interface: &str) {
        let path = self.link(interface);
        let removed = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        match removed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "a pinned link stays"),
        }
    }

    /// Removes everything.
    ///
    /// # Errors
    /// Where the directory stays.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.root).with_context(|| format!("remove {}", self.root.display()))
    }
}

/// Pins can only be made in a bpffs, and the error of the kernel does not say so.
pub(super) fn require_bpffs(path: &Path) -> Result<()> {
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let found = statfs(existing).with_context(|| format!("look at {}", existing.display()))?;
    if found.filesystem_type() != BPF_FS_MAGIC {
        bail!(
            "{} is not on a bpffs. Mount one: mount -t bpf bpf /sys/fs/bpf (or point [daemon] bpffs to where one is)",
            path.display()
        );
    }
    Ok(())
}
