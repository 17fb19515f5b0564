//! Names with rules: interfaces and hosts.

use std::{fmt, net::IpAddr};

use crate::sni::HostName;

/// A name that the kernel accepts for an interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

/// `IFNAMSIZ` without its terminating zero.
const INTERFACE_LENGTH: usize = 15;

impl InterfaceName {
    /// The kernel's own rule, `dev_valid_name`, less the comma that stands for a dot among the pins; the error
    /// completes "the interface name …".
    pub fn new(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() {
            Err("is empty")
        } else if name.len() > INTERFACE_LENGTH {
            Err("is longer than 15 bytes")
        } else if name == "." || name == ".." {
            Err("is a directory")
        } else if name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace()) {
            Err("contains a slash, a colon or a space")
        } else if name.contains(',') {
            Err("contains a comma, which stands for a dot in the names of pins")
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A host name as it is compared and looked up: lower-case, without the dot at its end; the error completes
/// "the host name …".
pub fn host_name(name: &str) -> Result<String, &'static str> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() {
        Err("is an address")
    } else if name.len() > 253 {
        Err("is longer than 253 characters")
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        Err("has a character other than a-z, 0-9, '-', '_' and '.'")
    } else if !name.contains('.') {
        Err("has no dot")
    } else if name.split('.').any(str::is_empty) {
        Err("has an empty label")
    } else if name.split('.').any(|label| label.len() > 63) {
        Err("has a label longer than 63 characters")
    } else if name.parse::<HostName>().is_err() {
        // It would stand there in vain: what clients send is read by these rules.
        Err("ends in a number, which no name of a server does")
    } else {
        Ok(name)
    }
}
