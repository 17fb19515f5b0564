//! What the kernel says of this machine: netlink, and files in `/proc`. Nothing here reads `/sys`, which may
//! show another network namespace than this process is in.

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::netlink::{Netlink, Snapshot};

/// A machine, by the root of its file system.
pub(super) struct Host {
    root: PathBuf,
    /// Its links, addresses and routes.
    pub network: Snapshot,
}

const TCP_LISTEN: &str = "0A";

impl Host {
    /// The machine that this runs on.
    ///
    /// # Errors
    /// Where the kernel does not list its network.
    pub fn here() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let network = runtime.block_on(async { Netlink::connect()?.snapshot().await })?;
        Ok(Self { root: PathBuf::from("/"), network })
    }

    #[cfg(test)]
    pub fn at(root: &std::path::Path, network: Snapshot) -> Self {
        Self { root: root.to_owned(), network }
    }

    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// The ports that a server of this machine listens on over IPv4.
    pub fn listening(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = ["proc/net/tcp", "proc/net/tcp6"]
            .iter()
            .filter_map(|table| self.read(table))
            .flat_map(|table| table.lines().skip(1).filter_map(listener).collect::<Vec<_>>())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// Number, local address and port, remote ones, state. Loopback is in nobody's way.
fn listener(line: &str) -> Option<u16> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, ..] = fields[..] else { return None };
    let (address, port) = local.split_once(':')?;
    let loopback = address == "0100007F" || address == "00000000000000000000000001000000";
    if state != TCP_LISTEN || loopback {
        return None;
    }
    u16::from_str_radix(port, 16).ok()
}
