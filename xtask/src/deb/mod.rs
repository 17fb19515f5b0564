//! `cargo xtask deb`: a Debian package with everything that an installed ingressd wants around it.

pub mod rehearsal;

use crate::{build, shell};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// What comes after the version, as in 0.1.0-2
    #[arg(long, default_value_t = 1)]
    revision: u32,
    /// Package the unoptimised programs, to try the package itself
    #[arg(long)]
    unoptimised: bool,
}

/// Made for all machines of the same release of Debian, and later ones.
const CONTROL: &str = include_str!("control");
/// Run by dpkg around installing and removing.
const SCRIPTS: [(&str, &str); 4] = [
    ("postinst", include_str!("postinst")),
    ("prerm", include_str!("prerm")),
    ("postrm", include_str!("postrm")),
    ("conffiles", "/etc/ingress/ingress.toml\n"),
];
/// What lies in the checkout, and where it goes.
const FILES: [(&str, &str); 22] = [
    ("contrib/ingress.toml", "etc/ingress/ingress.toml"),
    // Errors name it: the other is the operator's, and says what he has made of it.
    ("contrib/ingress.toml", "usr/share/doc/ingress/ingress.toml"),
    ("contrib/ingress.service", "usr/lib/systemd/system/ingress.service"),
    ("contrib/grafana/ingress.json", "usr/share/ingress/grafana/ingress.json"),
    ("contrib/prometheus/ingress.rules.yml", "usr/share/ingress/prometheus/ingress.rules.yml"),
    ("README.md", "usr/share/doc/ingress/README.md"),
    ("CHANGELOG.md", "usr/share/doc/ingress/CHANGELOG.md"),
    ("ARCHITECTURE.md", "usr/share/doc/ingress/ARCHITECTURE.md"),
    ("docs/backends.md", "usr/share/doc/ingress/docs/backends.md"),
    ("docs/benchmarks.md", "usr/share/doc/ingress/docs/benchmarks.md"),
    ("docs/conformance.md", "usr/share/doc/ingress/docs/conformance.md"),
    ("docs/home.md", "usr/share/doc/ingress/docs/home.md"),
    ("docs/migration.md", "usr/share/doc/ingress/docs/migration.md"),
    ("docs/operations.md", "usr/share/doc/ingress/docs/operations.md"),
    ("docs/reliability.md", "usr/share/doc/ingress/docs/reliability.md"),
    ("docs/runbooks.md", "usr/share/doc/ingress/docs/runbooks.md"),
    ("docs/security.md", "usr/share/doc/ingress/docs/security.md"),
    ("docs/troubleshooting.md", "usr/share/doc/ingress/docs/troubleshooting.md"),
    ("docs/walkthrough.md", "usr/share/doc/ingress/docs/walkthrough.md"),
    ("docs/images/status-light.png", "usr/share/doc/ingress/docs/images/status-light.png"),
    ("docs/images/status-dark.png", "usr/share/doc/ingress/docs/images/status-dark.png"),
    ("xtask/src/deb/copyright", "usr/share/doc/ingress/copyright"),
];
/// The shells, and where each looks for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/ingressctl"),
    ("zsh", "usr/share/zsh/vendor-completions/_ingressctl"),
    ("fish", "usr/share/fish/vendor_completions.d/ingressctl.fish"),
];

pub fn run(args: &Args) -> Result<()> {
    if shell::find_program("dpkg-deb").is_none() {
        bail!("no `dpkg-deb` here: Debian packages are made on Debian");
    }
    build::programs(!args.unoptimised, &[])?;
    pack(args)
}

/// Makes the package of programs that are built.
fn pack(args: &Args) -> Result<()> {
    let built = build::directory(!args.unoptimised);
    let architecture = shell::output(Command::new("dpkg").arg("--print-architecture"))
        .context("`dpkg --print-architecture` fails")?;
    let version = format!("{}-{}", env!("CARGO_PKG_VERSION"), args.revision);
    let name = format!("ingress_{version}_{}", architecture.trim());
    let root = built.join("deb").join(&name);
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    programs(&built, &root)?;
    for (from, to) in FILES {
        let text = fs::read(shell::workspace_root().join(from))?;
        write(&root.join(to), &text, 0o644)?;
    }
    generated(&built, &root)?;
    let depends = depends(&root)?;
    let control = CONTROL
        .replace("@version@", &version)
        .replace("@architecture@", architecture.trim())
        .replace("@depends@", &depends)
        .replace("@size@", &(size(&root)? / 1024).to_string());
    write(&root.join("DEBIAN/control"), control.as_bytes(), 0o644)?;
    for (script, text) in SCRIPTS {
        let mode = if script == "conffiles" { 0o644 } else { 0o755 };
        write(&root.join("DEBIAN").join(script), text.as_bytes(), mode)?;
    }
    let package = built.join("deb").join(format!("{name}.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&package);
    shell::run(&mut dpkg)?;
    println!("{}", package.display());
    Ok(())
}

fn programs(built: &Path, root: &Path) -> Result<()> {
    for program in ["ingressd", "ingressctl"] {
        let to = root.join("usr/bin").join(program);
        write(&to, &fs::read(built.join(program))?, 0o755)?;
        // The names of functions stay, for backtraces.
        shell::run(Command::new("strip").arg("--strip-debug").arg(&to))?;
    }
    Ok(())
}

/// What the programs tell of themselves.
fn generated(built: &Path, root: &Path) -> Result<()> {
    for (shell, to) in COMPLETIONS {
        let mut ctl = Command::new(built.join("ingressctl"));
        let script =
            shell::output(ctl.args(["completions", shell])).context("no completions come out")?;
        write(&root.join(to), script.as_bytes(), 0o644)?;
    }
    for (program, section) in [("ingressd", "man8"), ("ingressctl", "man1")] {
        let directory = root.join("usr/share/man").join(section);
        fs::create_dir_all(&directory)?;
        shell::run(Command::new(built.join(program)).arg("man").arg(&directory))?;
        let pages = fs::read_dir(&directory)?.map(|page| Ok(page?.path()));
        let pages = pages.collect::<Result<Vec<PathBuf>>>()?;
        for page in &pages {
            fs::set_permissions(page, fs::Permissions::from_mode(0o644))?;
        }
        shell::run(Command::new("gzip").arg("-9n").args(pages))?;
    }
    Ok(())
}

/// The libraries' packages, as dpkg-shlibdeps finds them; without it, the C library of this machine.
fn depends(root: &Path) -> Result<String> {
    let scratch = root.with_extension("shlibdeps");
    fs::create_dir_all(scratch.join("debian"))?;
    fs::write(scratch.join("debian/control"), "Source: ingress\n\nPackage: ingress\n")?;
    let mut shlibdeps = Command::new("dpkg-shlibdeps");
    shlibdeps.current_dir(&scratch).arg("-O");
    shlibdeps.args(["ingressd", "ingressctl"].map(|program| root.join("usr/bin").join(program)));
    let found = shell::output(&mut shlibdeps)
        .and_then(|line| Some(line.trim().strip_prefix("shlibs:Depends=")?.to_owned()));
    fs::remove_dir_all(&scratch)?;
    if let Some(found) = found {
        return Ok(found);
    }
    let mut query = Command::new("dpkg-query");
    let installed = shell::output(query.args(["-W", "-f", "${Version}", "libc6"]))
        .context("dpkg knows no libc6")?;
    let upstream = installed.split('-').next().unwrap_or(&installed);
    Ok(format!("libc6 (>= {upstream})"))
}

fn size(directory: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}

fn write(path: &PathBuf, content: &[u8], mode: u32) -> Result<()> {
    let parent = path.parent().context("a file lies somewhere")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    fs::write(path, content).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}
