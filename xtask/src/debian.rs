//! What this system's apt knows of the distribution.

use crate::shell;
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

/// The release's name, such as `bookworm`.
pub fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("which Debian is this")?;
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(codename.context("/etc/os-release has no VERSION_CODENAME")?.to_owned())
}

/// Where packages with this label (`Debian`, `Debian-Security`) come from; `None` if apt has no such source.
pub fn mirror_of(label: &str) -> Option<String> {
    index_targets("$(LABEL)\t$(REPO_URI)", label)
}

/// Where the packages of a release come from, by its codename: other names of it pass on to the next.
pub fn mirror_with(codename: &str) -> Result<String> {
    index_targets("$(CODENAME)\t$(REPO_URI)", codename)
        .with_context(|| format!("this system's apt has no source of {codename}"))
}

fn index_targets(format: &str, key: &str) -> Option<String> {
    let mut apt = Command::new("apt-get");
    let found =
        shell::output(apt.args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let mut uris: Vec<&str> = found
        .lines()
        .filter_map(|line| line.split_once('\t').filter(|(found, _)| *found == key))
        .map(|(_, uri)| uri)
        .collect();
    uris.sort_unstable();
    uris.first().map(|uri| (*uri).to_owned())
}
