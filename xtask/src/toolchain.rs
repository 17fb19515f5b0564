//! Finds a compiler and a linker for `bpfel-unknown-none` and builds the eBPF object with them.
//!
//! Two kinds of compiler will do: a nightly with the sources of `core` (rustup), and one that comes
//! with `core` already built for BPF (Debian's `rustc-web`, installed or unpacked beside).

use anyhow::{Context, Result, bail};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The only target the programs are built for.
pub const TARGET: &str = "bpfel-unknown-none";

const PACKAGE: &str = "ingress-ebpf";

/// A complete toolchain: able to compile and to link.
#[derive(Debug)]
pub struct Bpf {
    compiler: Compiler,
    linker: PathBuf,
}

/// How `core` for BPF is come by.
#[derive(Debug)]
pub enum Compiler {
    /// A nightly that builds `core` from `rust-src`.
    Nightly {
        /// Its directory.
        sysroot: PathBuf,
    },
    /// A compiler that has `core` for BPF in its sysroot.
    Prebuilt {
        /// The compiler itself.
        rustc: PathBuf,
        /// Where its own libraries are, if the loader would not find them.
        libraries: Option<PathBuf>,
    },
}

impl Bpf {
    /// The first toolchain that is complete, or an error that names what is missing.
    pub fn find() -> Result<Self> {
        let mut missing = Vec::new();
        let compiler = find_compiler();
        if compiler.is_none() {
            missing.push(format!(
                "a compiler for {TARGET} (rustup's nightly with `rust-src`, or Debian's `rustc-web` \
                 with `libstd-rust-web-dev-bpf`)"
            ));
        }
        let linker = find_linker();
        if linker.is_none() {
            missing.push("`bpf-linker` (in PATH or in cargo's bin directory)".to_owned());
        }
        match (compiler, linker) {
            (Some(compiler), Some(linker)) => Ok(Self { compiler, linker }),
            _ => bail!(
                "the eBPF programs cannot be built, missing: {}. `cargo xtask setup` installs it",
                missing.join("; ")
            ),
        }
    }

    /// What was found, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let compiler = match &self.compiler {
            Compiler::Nightly { sysroot } => format!("{} with rust-src", sysroot.display()),
            Compiler::Prebuilt { rustc, .. } => rustc.display().to_string(),
        };
        format!("{compiler}, {}", self.linker.display())
    }

    /// Builds the programs and returns the object file.
    ///
    /// `target_dir` must not be one that a running cargo holds locked, or the two wait for each other.
    pub fn build(
        &self,
        workspace_root: &Path,
        target_dir: &Path,
        features: &[&str],
    ) -> Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo
            .current_dir(workspace_root)
            .args(["build", "--quiet", "--release", "--package", PACKAGE, "--target", TARGET])
            .args(["--features", &features.join(",")])
            .arg("--target-dir")
            .arg(target_dir)
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags())
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "fat")
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
            .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false");
        if let Compiler::Nightly { .. } = self.compiler {
            cargo.args(["-Z", "build-std=core"]);
        }
        let status = cargo.status().with_context(|| format!("start {cargo:?}"))?;
        if !status.success() {
            bail!("building {PACKAGE} for {TARGET} failed ({status}), with {}", self.describe());
        }
        let object = target_dir.join(TARGET).join("release").join(PACKAGE);
        if !object.is_file() {
            bail!("{PACKAGE} was built, but there is no {}", object.display());
        }
        Ok(object)
    }

    /// A cargo that uses this compiler and nothing of the build it may be called from.
    fn cargo(&self) -> Command {
        let mut cargo = match &self.compiler {
            Compiler::Nightly { sysroot } => {
                let mut cargo = Command::new(sysroot.join("bin/cargo"));
                cargo.env("RUSTC", sysroot.join("bin/rustc"));
                cargo
            }
            Compiler::Prebuilt { rustc, .. } => {
                let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
                cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        };
        for (name, _) in env::vars_os() {
            if disturbs(&name) {
                cargo.env_remove(name);
            }
        }
        // rustup points the loader at its own toolchain; another compiler must not see that.
        match &self.compiler {
            Compiler::Prebuilt { libraries: Some(path), .. } => {
                cargo.env("LD_LIBRARY_PATH", path);
            }
            Compiler::Prebuilt { libraries: None, .. } | Compiler::Nightly { .. } => {
                cargo.env_remove("LD_LIBRARY_PATH");
            }
        }
        cargo
    }

    fn rustflags(&self) -> String {
        let linker = format!("linker={}", self.linker.display());
        // aya-ebpf picks the register layout of kprobes by it.
        let arch = format!("bpf_target_arch=\"{}\"", env::consts::ARCH);
        ["-C", "debuginfo=2", "-C", &linker, "-C", "link-arg=--btf", "--cfg", &arch].join("\x1f")
    }
}

/// Whether a compiler for BPF is there.
#[must_use]
pub fn has_compiler() -> bool {
    find_compiler().is_some()
}

/// Whether the linker is there.
#[must_use]
pub fn has_linker() -> bool {
    find_linker().is_some()
}

/// Whether a variable belongs to the cargo run that we are part of, and not to the user.
fn disturbs(name: &OsString) -> bool {
    const PREFIXES: [&str; 8] = [
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
        "DEP_",
    ];
    const NAMES: [&str; 12] = [
        "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_RUSTC_WRAPPER",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_PRIMARY_PACKAGE",
        "RUSTC_LINKER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
    ];
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn find_compiler() -> Option<Compiler> {
    nightly().or_else(|| prebuilt(PathBuf::from("/usr/bin/rustc"), None)).or_else(|| {
        let root = unpacked_root()?.join("usr");
        prebuilt(root.join("bin/rustc"), Some(libraries_below(&root.join("lib"))))
    })
}

fn nightly() -> Option<Compiler> {
    let output = Command::new("rustup")
        .args(["run", "nightly", "rustc", "--print", "sysroot"])
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let source = sysroot.join("lib/rustlib/src/rust/library/core");
    (source.is_dir() && sysroot.join("bin/cargo").is_file())
        .then_some(Compiler::Nightly { sysroot })
}

fn prebuilt(rustc: PathBuf, libraries: Option<PathBuf>) -> Option<Compiler> {
    let compiler = Compiler::Prebuilt { rustc, libraries };
    compiles(&compiler).then_some(compiler)
}

/// A `core` in the right place may still be another compiler's: only trying tells.
fn compiles(compiler: &Compiler) -> bool {
    let Compiler::Prebuilt { rustc, libraries } = compiler else { return true };
    let scratch = env::temp_dir().join(format!("ingress-probe-{}", std::process::id()));
    let source = scratch.join("probe.rs");
    let attempt = || -> std::io::Result<bool> {
        fs::create_dir_all(&scratch)?;
        fs::write(&source, "#![no_std]\n")?;
        let mut probe = Command::new(rustc);
        probe
            .args(["--target", TARGET, "--crate-type", "lib", "--emit", "metadata", "--out-dir"])
            .args([&scratch, &source])
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("LD_LIBRARY_PATH");
        if let Some(path) = libraries {
            probe.env("LD_LIBRARY_PATH", path);
        }
        Ok(probe.output()?.status.success())
    };
    let compiles = attempt().unwrap_or(false);
    let _ = fs::remove_dir_all(&scratch);
    compiles
}

/// Debian keeps the compiler's own library in the directory of the architecture.
fn libraries_below(lib: &Path) -> PathBuf {
    let multiarch = lib.join(format!("{}-linux-gnu", env::consts::ARCH));
    if multiarch.is_dir() { multiarch } else { lib.to_owned() }
}

fn find_linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(cargo_home().map(|home| home.join("bin")))
        .map(|dir| dir.join("bpf-linker"))
        .find(|file| file.is_file())
}

/// Cargo's home, where `cargo install` puts programs.
#[must_use]
pub fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

/// Where a toolchain is unpacked that may not be installed.
#[must_use]
pub fn unpacked_root() -> Option<PathBuf> {
    Some(cache()?.join("toolchain"))
}

/// Where this project keeps what it has downloaded.
#[must_use]
pub fn cache() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("ingress"))
}
