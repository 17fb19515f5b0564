//! Debian's kernels: downloaded with apt and unpacked beside the system, which they leave as it is.

use crate::{debian, shell};
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::toolchain::cache;

/// Where kernels are looked for. A mirror need not have all of them.
const SUITES: &str =
    "bullseye bookworm bookworm-backports trixie trixie-updates trixie-backports sid";
const SECURITY_SUITES: &str = "bullseye-security bookworm-security trixie-security";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// What is booted.
    pub image: PathBuf,
    /// `lib/modules/<release>`, modules not compressed.
    pub modules: PathBuf,
}

/// An apt that is asked nothing about the system that runs here.
#[derive(Debug)]
pub struct Debian {
    dir: PathBuf,
}

impl Debian {
    /// Writes its configuration. Lists are fetched when first needed.
    pub fn open() -> Result<Self> {
        let dir = cache().context("HOME is not set: no place for kernels")?.join("kernels");
        for below in ["lists/partial", "archives/partial", "sources", "preferences", "unpacked"] {
            fs::create_dir_all(dir.join(below))?;
        }
        let debian = Self { dir };
        debian.configure()?;
        Ok(debian)
    }

    /// The newest kernel of a series.
    pub fn kernel(&self, series: &str) -> Result<Kernel> {
        let known = self.releases(series);
        if let Some(kernel) = known.last().and_then(|release| self.unpacked(release)) {
            return Ok(kernel);
        }
        // Old lists name packages that have been replaced since.
        self.update()?;
        let mut error =
            anyhow!("no Debian suite that the mirror has offers a cloud kernel {series}");
        // A mirror may list what it has no more; the one before will do.
        for release in self.releases(series).iter().rev().take(3) {
            match self.unpack(release) {
                Ok(kernel) => return Ok(kernel),
                Err(failed) => error = failed.context(format!("fetch Linux {release}")),
            }
        }
        Err(error)
    }

    /// An `apt-get` that prefers the backports of the system that runs here.
    pub fn backports(&self) -> Result<Command> {
        self.update()?;
        let suite = format!("{}-backports", debian::codename()?);
        let mut apt = self.apt("apt-get");
        apt.args(["-t", &suite]).env("DEBIAN_FRONTEND", "noninteractive");
        Ok(apt)
    }

    /// Cloud kernels: they boot fastest, and have everything that is needed here.
    fn releases(&self, series: &str) -> Vec<String> {
        let found = shell::output(self.apt("apt-cache").args([
            "search",
            "--names-only",
            // Three numbers: with two it is the name of whichever is the newest.
            "^linux-image-[0-9]+[.][0-9]+[.][0-9].*-cloud-amd64$",
        ]));
        let mut releases: Vec<String> = found
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split(' ').next()?.strip_prefix("linux-image-"))
            .filter(|release| series == "newest" || is_of(release, series))
            .map(str::to_owned)
            .collect();
        releases.sort_by_key(|release| numbers(release));
        releases
    }

    fn unpacked(&self, release: &str) -> Option<Kernel> {
        let root = self.dir.join("unpacked").join(release);
        let kernel = Kernel {
            release: release.to_owned(),
            image: root.join("vmlinuz"),
            modules: root.join("lib/modules").join(release),
        };
        kernel.modules.join("modules.dep").is_file().then_some(kernel)
    }

    fn unpack(&self, release: &str) -> Result<Kernel> {
        let scratch = self.dir.join(format!("scratch-{}", std::process::id()));
        fs::create_dir_all(&scratch)?;
        // Since 7.0 the image's package has the kernel in others.
        let split = format!("linux-binary-{release}");
        let shows = shell::output(self.apt("apt-cache").args(["show", &split]));
        let packages = match shows.filter(|text| !text.is_empty()) {
            Some(_) => vec![split, format!("linux-modules-{release}")],
            None => vec![format!("linux-image-{release}")],
        };
        let mut download = self.apt("apt-get");
        shell::run(download.current_dir(&scratch).args(["download", "-q"]).args(packages))?;
        let root = scratch.join("root");
        for file in files(&scratch)?.iter().filter(|file| has_extension(file, "deb")) {
            shell::run(Command::new("dpkg").arg("-x").arg(file).arg(&root))?;
        }
        let modules = [root.join("usr/lib/modules"), root.join("lib/modules")]
            .map(|dir| dir.join(release))
            .into_iter()
            .find(|dir| dir.join("kernel").is_dir())
            .context("the package has no modules")?;
        let image = [root.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")]
            .into_iter()
            .find(|file| file.is_file())
            .context("the package has no kernel")?;

        let finished = scratch.join("finished");
        fs::create_dir_all(finished.join("lib/modules"))?;
        fs::rename(&image, finished.join("vmlinuz"))?;
        fs::rename(&modules, finished.join("lib/modules").join(release))?;
        let mut unxz = Command::new("find");
        unxz.arg(&finished).args(["-name", "*.ko.xz", "-exec", "xz", "-d", "{}", "+"]);
        shell::run(&mut unxz)?;
        shell::run(Command::new("depmod").arg("-b").arg(&finished).arg(release))?;
        let place = self.dir.join("unpacked").join(release);
        // Somebody else may have been quicker.
        if fs::rename(&finished, &place).is_err() && !place.is_dir() {
            bail!("{} cannot be written", place.display());
        }
        fs::remove_dir_all(&scratch)?;
        self.unpacked(release).with_context(|| format!("{} is incomplete", place.display()))
    }

    fn update(&self) -> Result<()> {
        // That fails as a whole where a mirror lacks one of the suites; the others are there then.
        if let Err(error) = shell::run(self.apt("apt-get").args(["update", "-q"])) {
            eprintln!("  {error:#}; going on with what there is");
        }
        Ok(())
    }

    /// Takes the mirror from the system's own sources.
    fn configure(&self) -> Result<()> {
        let mut sources = String::new();
        for (label, suites) in [("Debian", SUITES), ("Debian-Security", SECURITY_SUITES)] {
            let Some(uri) = debian::mirror_of(label) else { continue };
            sources += &format!(
                "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n\
                 Architectures: amd64\nSigned-By: {KEYRING}\n\n"
            );
        }
        if sources.is_empty() {
            bail!("kernels are Debian's, and this system's apt has no Debian source");
        }
        let dir = self.dir.display();
        fs::write(self.dir.join("sources/debian.sources"), sources)?;
        fs::write(
            self.dir.join("apt.conf"),
            format!(
                "Dir::State::Lists \"{dir}/lists\";\nDir::Cache \"{dir}\";\n\
                 Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{dir}/sources\";\n\
                 Dir::Etc::preferencesparts \"{dir}/preferences\";\n\
                 Acquire::Languages \"none\";\n\
                 Acquire::Retries \"3\";\n\
                 Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\nAPT::Sandbox::User \"root\";\n"
            ),
        )?;
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        apt.env("APT_CONFIG", self.dir.join("apt.conf"));
        apt
    }
}

/// `6.1.0-56-cloud-amd64` is of 6.1, and `6.12.117+deb13-cloud-amd64` is not.
fn is_of(release: &str, series: &str) -> bool {
    release.strip_prefix(series).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    Ok(fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_releases() {
        assert!(is_of("6.1.0-56-cloud-amd64", "6.1"));
        assert!(!is_of("6.12.117+deb13-cloud-amd64", "6.1"));
        assert!(numbers("6.1.0-9-cloud-amd64") < numbers("6.1.0-56-cloud-amd64"));
    }
}
