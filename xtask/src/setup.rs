//! `cargo xtask setup`: installs what building and testing need, and is missing.
//!
//! Debian and its kin only. Nothing installed is replaced, and no service is left running or enabled.

use crate::shell::{self, find_program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::toolchain::{self, Bpf};

/// What the lab runs: package, and how its presence is seen.
const PROGRAMS: [(&str, Presence); 13] = [
    ("iproute2", Presence::Program("ip")),
    ("wireguard-go", Presence::Program("wireguard-go")),
    ("wireguard-tools", Presence::Program("wg")),
    ("dnsmasq-base", Presence::Program("dnsmasq")),
    ("nftables", Presence::Program("nft")),
    ("nginx-light", Presence::Program("nginx")),
    ("postgresql", Presence::BelowEach("/usr/lib/postgresql", "bin/initdb")),
    ("curl", Presence::Program("curl")),
    ("openssl", Presence::Program("openssl")),
    ("tcpdump", Presence::Program("tcpdump")),
    ("iputils-ping", Presence::Program("ping")),
    ("util-linux", Presence::Program("nsenter")),
    ("ca-certificates", Presence::File("/etc/ssl/certs/ca-certificates.crt")),
];

/// Whom the tests meet besides.
const PEERS: [(&str, Presence); 4] = [
    ("chromium", Presence::Program("chromium")),
    ("prometheus", Presence::Program("promtool")),
    ("python3", Presence::Program("python3")),
    ("tayga", Presence::Program("tayga")),
];

/// What virtual machines with other kernels need.
const VIRTUAL_MACHINES: [(&str, Presence); 5] = [
    ("qemu-system-x86", Presence::Program("qemu-system-x86_64")),
    ("busybox-static", Presence::Program("busybox")),
    ("cpio", Presence::Program("cpio")),
    ("kmod", Presence::Program("depmod")),
    ("xz-utils", Presence::Program("xz")),
];

/// What a clean Debian is made with, and booted.
const CONTAINERS: [(&str, Presence); 2] = [
    ("debootstrap", Presence::Program("debootstrap")),
    ("systemd-container", Presence::Program("systemd-nspawn")),
];

const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
const LLVM: (&str, &str, &str) = ("llvm-22-dev", "/usr/lib/llvm-22", "llvm-22");
const LINKER_VERSION: &str = "0.13.0";
const FUZZER_VERSION: &str = "0.13.2";
const DENIER_VERSION: &str = "0.20.2";

enum Presence {
    Program(&'static str),
    File(&'static str),
    BelowEach(&'static str, &'static str),
}

/// Whom `bench` compares with, besides what the lab runs.
const RIVALS: [(&str, Presence); 2] = [
    ("libnginx-mod-stream", Presence::File("/usr/lib/nginx/modules/ngx_stream_module.so")),
    ("haproxy", Presence::Program("haproxy")),
];

/// Everything: the eBPF toolchain and what the tests run.
pub fn run() -> Result<()> {
    lab()?;
    complete("the tests", &PEERS)
}

/// The eBPF toolchain and what the lab runs.
pub fn lab() -> Result<()> {
    toolchain()?;
    complete("the lab", &PROGRAMS)
}

/// The proxies that this project is measured against.
pub fn rivals() -> Result<()> {
    complete("the benchmark", &RIVALS)
}

/// What the test of the package runs in.
pub fn containers() -> Result<()> {
    complete("the package's test", &CONTAINERS)
}

fn complete(what_for: &str, wanted: &[(&'static str, Presence)]) -> Result<()> {
    let missing = missing(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("setup: installing for {what_for}: {}", missing.join(" "));
    install(&missing)?;
    keep_stopped(&missing)
}

/// What `cargo xtask test --kernel` needs. `backports` is how to run an apt that knows the backports: where
/// parts of QEMU come from there, all of it must.
pub fn virtual_machines(backports: impl FnOnce() -> Result<Command>) -> Result<()> {
    let missing = missing(&VIRTUAL_MACHINES);
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("setup: installing for virtual machines: {}", missing.join(" "));
    install(&missing).or_else(|_| {
        let mut apt = backports()?;
        apt.args(["install", "-y", "-q", "--no-install-recommends"]).args(missing);
        shell::run(apt.args(["-o", "DPkg::Lock::Timeout=300"]))
    })
}

fn missing(wanted: &[(&'static str, Presence)]) -> Vec<&'static str> {
    let missing = wanted.iter().filter(|(_, presence)| !presence.seen());
    missing.map(|(package, _)| *package).collect()
}

/// What building needs.
pub fn toolchain() -> Result<()> {
    if Bpf::find().is_ok() {
        return Ok(());
    }
    if !toolchain::has_compiler() {
        compiler()?;
    }
    if !toolchain::has_linker() {
        linker()?;
    }
    let found = Bpf::find().context("after installing it")?;
    eprintln!("setup: eBPF toolchain: {}", found.describe());
    Ok(())
}

fn compiler() -> Result<()> {
    let rivals = ["rustc", "rustc-mozilla", "rustup"];
    let Some(rival) = rivals.into_iter().find(|package| is_installed(package)) else {
        eprintln!("setup: installing a compiler for eBPF: {}", COMPILER.join(" "));
        return install(&COMPILER);
    };
    let root = toolchain::unpacked_root().context("HOME is not set: no place to unpack to")?;
    eprintln!(
        "setup: the package `{rival}` excludes `rustc-web`; unpacking that to {} instead",
        root.display()
    );
    // Its code generator is a library of LLVM, which may be installed beside any compiler.
    install(&[LLVM.0])?;
    unpack(&root)
}

/// Downloads the compiler's packages and unpacks them where they disturb nobody.
fn unpack(root: &Path) -> Result<()> {
    let depends = shell::output(Command::new("apt-cache").args(["show", "libstd-rust-web-dev"]))
        .context("apt knows no package `libstd-rust-web-dev`")?;
    let runtime = depends
        .lines()
        .filter(|line| line.starts_with("Depends:"))
        .flat_map(|line| line.split([' ', ',', '(']))
        .find(|word| word.starts_with("libstd-rust-web-1"))
        .context("`libstd-rust-web-dev` names no runtime package")?;
    let packages = root.join("packages");
    fs::create_dir_all(&packages).with_context(|| format!("make {}", packages.display()))?;
    let mut download = apt_get();
    download.current_dir(&packages).args(["download", "-o", "APT::Sandbox::User=root"]);
    shell::run(download.args(COMPILER).args(["libstd-rust-web-dev", runtime]))?;
    for entry in fs::read_dir(&packages)? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            shell::run(Command::new("dpkg").arg("-x").arg(&package).arg(root))?;
        }
    }
    fs::remove_dir_all(&packages)?;
    Ok(())
}

fn linker() -> Result<()> {
    let (package, prefix, feature) = LLVM;
    if !Path::new(prefix).join("bin/llvm-config").exists() {
        eprintln!("setup: installing for bpf-linker: {package}");
        install(&[package])?;
    }
    eprintln!("setup: building bpf-linker {LINKER_VERSION} (takes a minute or two)");
    let mut cargo = shell::cargo();
    cargo
        .args(["install", "bpf-linker", "--version", LINKER_VERSION])
        .args(["--no-default-features", "--features", feature])
        .env("LLVM_PREFIX", prefix);
    shell::run(&mut cargo)
}

/// cargo-fuzz.
pub fn fuzzer() -> Result<()> {
    cargo_program("cargo-fuzz", FUZZER_VERSION)
}

/// cargo-deny.
pub fn denier() -> Result<()> {
    cargo_program("cargo-deny", DENIER_VERSION)
}

/// A subcommand of cargo, from source.
fn cargo_program(name: &str, version: &str) -> Result<()> {
    let home = toolchain::cargo_home().map(|home| home.join("bin").join(name));
    if find_program(name).is_some() || home.is_some_and(|file| file.is_file()) {
        return Ok(());
    }
    eprintln!("setup: building {name} {version} (takes some minutes)");
    shell::run(shell::cargo().args(["install", "--locked", name, "--version", version]))
}

fn install(packages: &[&str]) -> Result<()> {
    if find_program("apt-get").is_none() {
        bail!("this is no Debian: install what these packages contain: {}", packages.join(" "));
    }
    if !shell::is_root() {
        bail!("not root: run `apt-get install {}` as root", packages.join(" "));
    }
    let _quiet = NoServices::new()?;
    let have_lists = fs::read_dir("/var/lib/apt/lists").is_ok_and(|dir| {
        dir.flatten().any(|file| file.file_name().to_string_lossy().contains("_Packages"))
    });
    if !have_lists {
        update()?;
        return apt_install(packages);
    }
    // Lists from long ago name files that are gone.
    apt_install(packages).or_else(|_| {
        update()?;
        apt_install(packages)
    })
}

fn update() -> Result<()> {
    shell::run(apt_get().arg("update"))
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let mut apt = apt_get();
    apt.args(["install", "-y", "--no-install-recommends"]).env("DEBIAN_FRONTEND", "noninteractive");
    shell::run(apt.args(packages))
}

/// An apt-get that waits for others of its kind, and asks a mirror again.
fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]);
    apt
}

/// The lab starts its own servers; the system is not to start them at the next boot either.
fn keep_stopped(installed: &[&str]) -> Result<()> {
    for (package, unit) in [
        ("nginx-light", "nginx"),
        ("postgresql", "postgresql"),
        ("prometheus", "prometheus"),
        ("haproxy", "haproxy"),
        ("tayga", "tayga"),
    ] {
        if installed.contains(&package) && Path::new("/run/systemd/system").is_dir() {
            eprintln!("setup: {unit} is only for the lab: its service is not to start by itself");
            shell::run(Command::new("systemctl").args(["disable", "--quiet", unit]))?;
        }
    }
    Ok(())
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    shell::output(query.args(["-W", "-f", "${db:Status-Status}", package]))
        .is_some_and(|status| status == "installed")
}

impl Presence {
    fn seen(&self) -> bool {
        match self {
            Self::Program(name) => find_program(name).is_some(),
            Self::File(path) => Path::new(path).is_file(),
            Self::BelowEach(dir, file) => fs::read_dir(dir)
                .is_ok_and(|dir| dir.flatten().any(|entry| entry.path().join(file).is_file())),
        }
    }
}

/// Keeps package scripts from starting services, for as long as it lives.
struct NoServices(Option<PathBuf>);

impl NoServices {
    fn new() -> Result<Self> {
        let policy = PathBuf::from("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Ok(Self(None));
        }
        fs::write(&policy, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))?;
        Ok(Self(Some(policy)))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = self.0.take() {
            let _ = fs::remove_file(policy);
        }
    }
}
