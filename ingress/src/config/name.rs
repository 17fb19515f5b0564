//! Names with rules: interfaces and hosts.

use std::{fmt, net::IpAddr};

use crate::host_name::{HostName, NameError};

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

/// Reads a host name as an operator writes it; the error completes "the host name …".
pub fn host_name(name: &str) -> Result<HostName, &'static str> {
    name.parse().map_err(|error| match error {
        NameError::IpLiteral if name.parse::<IpAddr>().is_ok() => "is an address",
        NameError::IpLiteral if !name.contains(':') => {
            // It would stand there in vain: what clients send is read by these rules.
            "ends in a number, which no name of a server does"
        }
        NameError::IpLiteral | NameError::Character => {
            "has a character other than a-z, 0-9, '-', '_' and '.'"
        }
        NameError::TooLong => "is longer than 253 characters",
        NameError::Empty | NameError::Unqualified => "has no dot",
        NameError::EmptyLabel => "has an empty label",
        NameError::LongLabel => "has a label longer than 63 characters",
    })
}
