//! What crosses an interface, by tcpdump.

use crate::netns::Namespace;
use crate::process::{Process, wait_until};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const LINK_ETHERNET: u32 = 1;
const LINK_RAW: u32 = 101;
const ETHERNET_HEADER: usize = 14;

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts one; when this returns, it sees packets.
    pub fn start(namespace: &Namespace, interface: &str, filter: &str, dir: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = dir.join(format!("capture-{}-{number}.pcap", std::process::id()));
        let log = file.with_extension("log");
        let mut tcpdump = namespace.command("tcpdump")?;
        tcpdump
            .args(["-n", "-U", "--immediate-mode", "-Z", "root", "-s", "400", "-B", "8192"])
            .args(["-i", interface, "-w"])
            .arg(&file)
            .args(filter.split_whitespace());
        let process = Process::spawn(&mut tcpdump, &log)?;
        wait_until(Duration::from_secs(5), "tcpdump listens", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on"))
        })
        .with_context(|| process.log_tail())?;
        Ok(Self { process, file })
    }

    /// Goes on until it has seen what is waited for, then ends and returns everything.
    pub fn stop_with(self, what: &str, seen: impl Fn(&[Vec<u8>]) -> bool) -> Result<Vec<Vec<u8>>> {
        wait_until(Duration::from_secs(5), what, || {
            // The last packet may be half written.
            fs::read(&self.file).is_ok_and(|file| read(&file).is_ok_and(|packets| seen(&packets)))
        })?;
        self.stop()
    }

    /// Ends it and returns the packets from their IP header on, cut after some 400 bytes.
    pub fn stop(mut self) -> Result<Vec<Vec<u8>>> {
        // What has just crossed is still on its way to tcpdump.
        std::thread::sleep(Duration::from_millis(100));
        self.process.signal(Signal::SIGINT);
        self.process.wait(Duration::from_secs(5))?;
        read(&fs::read(&self.file)?)
    }
}

fn read(pcap: &[u8]) -> Result<Vec<Vec<u8>>> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_ne_bytes(pcap.get(at..at + 4)?.try_into().ok()?))
    };
    let skip = match word(20).context("the capture has no header")? {
        LINK_ETHERNET => ETHERNET_HEADER,
        LINK_RAW => 0,
        other => bail!("captured an unexpected kind of link ({other})"),
    };
    let mut packets = Vec::new();
    let mut at = 24;
    while let Some(len) = word(at + 8) {
        let start = at + 16;
        at = start + len as usize;
        let Some(packet) = pcap.get(start + skip..at) else { break };
        packets.push(packet.to_vec());
    }
    Ok(packets)
}
