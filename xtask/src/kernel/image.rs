//! The initramfs: busybox, the programs that the lab runs with their libraries, modules, and the tests.

use super::Extent;
use super::debian::Kernel;
use super::machine::STATUS;
use crate::shell::{self, find_program};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What busybox does not have, or has with less.
const PROGRAMS: [&str; 13] = [
    "cmp", "curl", "dnsmasq", "id", "ip", "nginx", "openssl", "ping", "setpriv", "tc", "tcpdump",
    "timeout", "wg",
];
/// With everything that they need.
const MODULES: [&str; 14] = [
    "wireguard",
    "veth",
    "bridge",
    "tun",
    "vxlan",
    "dummy",
    "sch_ingress",
    "cls_bpf",
    "act_bpf",
    "sch_netem",
    "nf_tables",
    "nft_ct",
    "nft_chain_nat",
    "xt_conntrack",
];
const FILES: [&str; 7] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl/openssl.cnf",
];
const POSTGRES: &str = "/usr/lib/postgresql";
const TESTS: &str = "/tests";

const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=dumb
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts pts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t tmpfs -o mode=1777,size=1500m tmp /tmp; mount -t bpf bpf /sys/fs/bpf
for module in $(cat /modules); do modprobe $module 2>/dev/null; done
ip link set lo up; stty -F /dev/ttyS1 -opost 2>/dev/null
sh /run-tests </dev/null >/dev/ttyS1 2>&1
echo "STATUS$?" >/dev/ttyS0
sync; echo o >/proc/sysrq-trigger; sleep 60
"#;

/// A file to boot from, removed when this is dropped.
#[derive(Debug)]
pub struct Image {
    dir: PathBuf,
    file: PathBuf,
}

impl Image {
    /// Packs it.
    pub fn build(kernel: &Kernel, binaries: &[PathBuf], extent: Extent) -> Result<Self> {
        let name = format!("ingress-vm-{}-{}", std::process::id(), kernel.release);
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        let image = Self { file: dir.join("initramfs"), dir };
        let root = Root(image.dir.join("root"));
        root.skeleton()?;
        if extent >= Extent::Lab {
            root.lab()?;
        }
        for binary in binaries {
            root.program(binary, &Path::new(TESTS).join(bare_name(binary)))?;
        }
        root.modules(kernel)?;
        root.write("/init", &INIT.replace("STATUS", STATUS))?;
        root.write("/run-tests", &script(extent.tests()))?;
        image.pack(&root)?;
        Ok(image)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file
    }

    fn pack(&self, root: &Root) -> Result<()> {
        let mut pack = Command::new("sh");
        let script = "find . | cpio --quiet --create --format=newc >../initramfs";
        shell::run(pack.args(["-ec", script]).current_dir(&root.0))?;
        fs::remove_dir_all(&root.0)?;
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// One test after another, whatever becomes of the one before.
fn script(tests: &[(&str, &str)]) -> String {
    let mut script = format!("cd /root; export INGRESS_BIN_DIR={TESTS} RUST_BACKTRACE=1\n");
    // Emulated, everything takes ten times as long.
    script += "export PROPTEST_CASES=100\n";
    script += "export INGRESS_WIREGUARD=kernel INGRESS_PATIENCE=10; failed=0; uname -r\n";
    for (test, filter) in tests {
        script += &format!("{TESTS}/{test} {filter} --test-threads=1 || failed=1\n");
    }
    script + "exit $failed\n"
}

/// The directory that becomes the machine's root.
struct Root(PathBuf);

impl Root {
    fn skeleton(&self) -> Result<()> {
        for dir in [
            "bin",
            "dev",
            "etc",
            "lib",
            "proc",
            "root",
            "run/netns",
            "sbin",
            "sys",
            "tests",
            "tmp",
            "usr/bin",
            "usr/sbin",
            "var/run/wireguard",
        ] {
            fs::create_dir_all(self.0.join(dir))?;
        }
        let busybox = find_program("busybox").context("`busybox` is not installed")?;
        self.copy(&busybox, Path::new("/bin/busybox"))?;
        if shell::output(Command::new("ldd").arg(&busybox)).is_some() {
            bail!("busybox needs libraries: install `busybox-static` in its place");
        }
        let applets = shell::output(Command::new(&busybox).arg("--list")).context("busybox")?;
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", self.0.join("bin").join(applet))?;
        }
        symlink("../bin/busybox", self.0.join("sbin/modprobe"))?;
        Ok(())
    }

    /// What the lab runs.
    fn lab(&self) -> Result<()> {
        for name in PROGRAMS {
            let file = find_program(name).with_context(|| format!("`{name}` is not installed"))?;
            self.program(&file, &Path::new("/usr/bin").join(name))?;
        }
        for file in FILES.map(Path::new).into_iter().filter(|file| file.exists()) {
            self.copy(file, file)?;
        }
        self.postgres()
    }

    /// Copies a program and its libraries, without what only debuggers read.
    fn program(&self, file: &Path, to: &Path) -> Result<()> {
        let applet = self.0.join("bin").join(to.file_name().unwrap_or_default());
        let _ = fs::remove_file(applet);
        self.copy(file, to)?;
        let _ = Command::new("strip").arg("--strip-debug").arg(self.inside(to)).status();
        let libraries = shell::output(Command::new("ldd").arg(file)).unwrap_or_default();
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            self.copy(Path::new(library), Path::new(library))?;
        }
        Ok(())
    }

    /// Debian's `psql` is a script that looks for the right one.
    fn postgres(&self) -> Result<()> {
        let versions = fs::read_dir(POSTGRES).context("PostgreSQL is not installed")?;
        let version =
            versions.flatten().map(|entry| entry.path()).max().context("no PostgreSQL")?;
        for name in ["initdb", "postgres", "psql"] {
            let file = version.join("bin").join(name);
            self.program(&file, &file)?;
        }
        symlink(version.join("bin/psql"), self.0.join("usr/bin/psql"))?;
        for file in files_below(&version.join("lib"))? {
            let name = file.to_string_lossy();
            if name.ends_with(".so") && !name.contains("llvm") {
                self.program(&file, &file)?;
            }
        }
        let number = version.file_name().context("its version")?;
        let shared = Path::new("/usr/share/postgresql").join(number);
        for dir in [shared.as_path(), Path::new("/usr/share/zoneinfo/Etc")] {
            for file in files_below(dir)? {
                self.copy(&file, &file)?;
            }
        }
        Ok(())
    }

    fn modules(&self, kernel: &Kernel) -> Result<()> {
        let index = fs::read_to_string(kernel.modules.join("modules.dep"))?;
        let mut wanted = BTreeSet::new();
        for name in MODULES {
            // One that is built in is in no list, and needs nothing.
            let suffix = format!("/{name}.ko");
            for line in index.lines() {
                let (module, needs) = line.split_once(':').context("modules.dep")?;
                if module.ends_with(&suffix) {
                    wanted.insert(module);
                    wanted.extend(needs.split_whitespace());
                }
            }
        }
        let inside = Path::new("/lib/modules").join(&kernel.release);
        for module in wanted {
            self.copy(&kernel.modules.join(module), &inside.join(module))?;
        }
        for file in fs::read_dir(&kernel.modules)?.flatten().map(|entry| entry.path()) {
            if let Some(name) = file.file_name().filter(|_| file.is_file()) {
                self.copy(&file, &inside.join(name))?;
            }
        }
        self.write("/modules", &MODULES.join("\n"))
    }

    fn write(&self, to: &str, text: &str) -> Result<()> {
        let file = self.inside(Path::new(to));
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.inside(to);
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir)?;
        }
        if !to.exists() {
            fs::copy(from, &to).with_context(|| format!("copy {}", from.display()))?;
        }
        Ok(())
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// A test's file has a hash behind its name.
fn bare_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    match name.rsplit_once('-') {
        Some((bare, hash)) if hash.len() == 16 => bare.to_owned(),
        _ => name.into_owned(),
    }
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
