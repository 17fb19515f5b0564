//! A directory of one's own in the bpffs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

const BPFFS: &str = "/sys/fs/bpf";

/// Removed, with whatever was pinned in it, when this is dropped.
pub struct Pins(PathBuf);

impl Pins {
    /// Makes one. The name is for whoever finds it after a crash.
    pub fn new(name: &str) -> Self {
        if statfs(BPFFS).is_ok_and(|found| found.filesystem_type() != BPF_FS_MAGIC) {
            let mounted = mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>);
            // Another test may have been quicker.
            assert!(matches!(mounted, Ok(()) | Err(Errno::EBUSY)), "mount {BPFFS}: {mounted:?}");
        }
        let path = Path::new(BPFFS).join(format!("ingress-golden-{}-{name}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
