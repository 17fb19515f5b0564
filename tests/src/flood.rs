//! A flood: packets from many sources that no kernel owns, sent from the client's machine of the lab as
//! fast as it can, or at a rate.

use crate::addresses::{RAW_CLIENT4, VPS4};
use crate::rawclient::{RawLink, USUAL_OPTIONS};
use crate::segment::{Segment, flag, packet4};
use crate::topology::Lab;
use anyhow::Result;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Where floods come from. Answers lead back to the client's machine, which takes no notice.
pub const SOURCES: &str = "10.0.0.0/8";
/// The same as the servers would see it.
pub const SOURCES_NAT46: &str = "64:ff9b:1::a00:0/104";

/// A flood that goes on until it is stopped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Sends what `packet` makes of the numbers from 0 on, `rate` a second or as many as can be.
    pub fn start(
        lab: &Lab,
        rate: Option<u32>,
        mut packet: impl FnMut(u64) -> Vec<u8> + Send + 'static,
    ) -> Result<Self> {
        lab.inet.ip(&format!("route replace {SOURCES} via {RAW_CLIENT4}\n"))?;
        let link = RawLink::open(lab)?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), sent.clone());
        let thread = thread::spawn(move || {
            let begin = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let nth = count.load(Ordering::Relaxed);
                if let Some(rate) = rate
                    && begin.elapsed().as_secs_f64() * f64::from(rate) < nth as f64
                {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
                // A full queue loses packets, as floods do.
                let _ = link.send(&packet(nth));
                count.store(nth + 1, Ordering::Relaxed);
            }
        });
        Ok(Self { stop, sent, thread: Some(thread) })
    }

    /// Packets so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it and says how many packets it were.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.sent()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end();
    }
}

/// A client of a flood: all over [`SOURCES`], with a port of its own.
#[must_use]
pub fn anywhere(nth: u64) -> SocketAddrV4 {
    // Multiplied by an odd number, the numbers visit every address.
    let address = 0x0a00_0000 | (nth.wrapping_mul(0x9e_3779b1) & 0xff_ffff) as u32;
    SocketAddrV4::new(Ipv4Addr::from(address), 1024 + (nth % 60_000) as u16)
}

/// A client of a flood from one neighbourhood.
#[must_use]
pub fn neighbour(nth: u64) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 1, 1, nth as u8), 1024 + (nth / 256 % 60_000) as u16)
}

/// A SYN to the web port.
#[must_use]
pub fn syn(client: SocketAddrV4) -> Vec<u8> {
    segment(client, 77, 0, flag::SYN, USUAL_OPTIONS, &[])
}

/// Data to the web port, the client's first octets behind a sequence number.
#[must_use]
pub fn data(client: SocketAddrV4, isn: u32, acknowledged: u32, octets: &[u8]) -> Vec<u8> {
    segment(client, isn.wrapping_add(1), acknowledged, flag::ACK | flag::PSH, &[], octets)
}

fn segment(
    client: SocketAddrV4,
    seq: u32,
    ack: u32,
    flags: u8,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let listen = SocketAddrV4::new(VPS4, 443);
    let segment = Segment {
        source: client.into(),
        destination: listen.into(),
        hops: 60,
        seq,
        ack,
        flags,
        window: 64_000,
        options: options.to_vec(),
        payload: payload.to_vec(),
    };
    packet4(client, listen, &segment)
}
