//! What crosses an interface, by tcpdump.

use crate::netns::Namespace;
use crate::packet_socket::PacketSocket;
use crate::process::{Process, wait_until};
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

const LINK_ETHERNET: u32 = 1;
const LINK_RAW: u32 = 101;
const ETHERNET_HEADER: usize = 14;
/// Of markers, for experiments (RFC 3692); nobody else uses it.
const MARKERS_PROTOCOL: u8 = 253;
/// Nobody's Ethernet address.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    _process: Process,
    file: PathBuf,
    namespace: Namespace,
    interface: String,
    number: u32,
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
            .arg(format!("({filter}) or ip proto {MARKERS_PROTOCOL}"));
        let process = Process::spawn(&mut tcpdump, &log)?;
        wait_until(Duration::from_secs(5), "tcpdump listens", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on"))
        })
        .with_context(|| process.log_tail())?;
        let (namespace, interface) = (namespace.clone(), interface.to_owned());
        Ok(Self { _process: process, file, namespace, interface, number })
    }

    /// Goes on until it has seen what is waited for, then ends and returns everything.
    pub fn stop_with(self, what: &str, seen: impl Fn(&[Vec<u8>]) -> bool) -> Result<Vec<Vec<u8>>> {
        self.wait_until(what, seen)?;
        self.stop()
    }

    /// Ends it and returns the packets from their IP header on, cut after some 400 bytes.
    pub fn stop(self) -> Result<Vec<Vec<u8>>> {
        // What was sent just now may have to come here first.
        thread::sleep(Duration::from_millis(100));
        // tcpdump sees packets late, but in order.
        let marker = self.marker();
        let open = || PacketSocket::open(&self.interface, Some(NOBODY));
        let sent = self.namespace.enter(open)??.send(&marker);
        // What the kernel's WireGuard has no peer for has been captured before it says so.
        if let Err(error) = sent
            && error.downcast_ref::<Errno>() != Some(&Errno::ENOKEY)
        {
            return Err(error);
        }
        let mut packets =
            self.wait_until("the capture ends", |packets| packets.contains(&marker))?;
        packets.retain(|packet| !is_marker(packet));
        Ok(packets)
    }

    fn wait_until(&self, what: &str, seen: impl Fn(&[Vec<u8>]) -> bool) -> Result<Vec<Vec<u8>>> {
        let mut packets = Vec::new();
        wait_until(Duration::from_secs(5), what, || {
            let captured = fs::read(&self.file).context("read it").and_then(|file| read(&file));
            packets = captured.unwrap_or_default();
            seen(&packets)
        })?;
        Ok(packets)
    }

    /// An IPv4 packet from nowhere to nowhere.
    fn marker(&self) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 1, MARKERS_PROTOCOL];
        packet.extend([0; 10]);
        packet.extend(self.number.to_be_bytes());
        packet
    }
}

fn is_marker(packet: &[u8]) -> bool {
    packet[0] == 0x45 && packet.get(9) == Some(&MARKERS_PROTOCOL)
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
    // The last packet may be half written.
    while let Some(len) = word(at + 8) {
        let start = at + 16;
        at = start + len as usize;
        let Some(packet) = pcap.get(start + skip..at) else { break };
        packets.push(packet.to_vec());
    }
    Ok(packets)
}
