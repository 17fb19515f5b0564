//! A wire that loses, doubles, delays and reorders frames: the same ones for the same seed.
//!
//! Frames travel with their virtio header, so checksums and segmentation that veth leaves to
//! "hardware" stay as unfinished as they were.

use crate::process::{Process, wait_until};
use crate::programs;
use crate::topology::Lab;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What a wire does to frames; probabilities from 0 to 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Impairment {
    /// Decides the fate of every frame.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Never arrives.
    #[arg(long, default_value_t = 0.0)]
    pub loss: f64,
    /// Arrives twice.
    #[arg(long, default_value_t = 0.0)]
    pub duplicate: f64,
    /// Arrives so much later that others overtake it.
    #[arg(long, default_value_t = 0.0)]
    pub reorder: f64,
    /// How long every frame takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pub delay: u64,
}

/// The wires that can be impaired.
#[derive(Clone, Copy, Debug)]
pub enum Wire {
    /// Between the client and the internet.
    Client,
    /// Between home and its ISP, below the tunnel.
    Home,
}

impl Wire {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Client, Self::Home];

    /// The bridge that is the wire while it is sound, and its two ends.
    #[must_use]
    pub fn interfaces(self) -> [&'static str; 3] {
        match self {
            Self::Client => ["client", "client0", "client1"],
            Self::Home => ["home", "home0", "home1"],
        }
    }
}

/// An impaired wire; sound again when dropped.
#[derive(Debug)]
pub struct Impaired<'a> {
    lab: &'a Lab,
    wire: Wire,
    _process: Process,
}

impl<'a> Impaired<'a> {
    /// Impairs a wire.
    pub fn start(lab: &'a Lab, wire: Wire, impairment: &Impairment) -> Result<Self> {
        let [_, a, b] = wire.interfaces();
        lab.introduce(wire)?;
        lab.wires.ip(&format!("link set {a} nomaster\nlink set {b} nomaster\n"))?;
        let Impairment { seed, loss, duplicate, reorder, delay } = impairment;
        let mut command = lab.wires.command(programs::find("lab")?)?;
        command.args(["impair", a, b]);
        for (option, value) in [
            ("--seed", seed.to_string()),
            ("--loss", loss.to_string()),
            ("--duplicate", duplicate.to_string()),
            ("--reorder", reorder.to_string()),
            ("--delay", delay.to_string()),
        ] {
            command.arg(option).arg(value);
        }
        let log = lab.dir().join(format!("impair-{a}.log"));
        let _ = fs::remove_file(&log);
        let process = Process::spawn(&mut command, &log)?;
        let impaired = Self { lab, wire, _process: process };
        wait_until(Duration::from_secs(5), "the impaired wire", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("forwarding"))
        })
        .with_context(|| impaired._process.log_tail())?;
        Ok(impaired)
    }
}

impl Drop for Impaired<'_> {
    fn drop(&mut self) {
        let [bridge, a, b] = self.wire.interfaces();
        let _ = self
            .lab
            .wires
            .ip(&format!("link set {a} master {bridge}\nlink set {b} master {bridge}\n"));
    }
}

/// Forwards frames between two interfaces of this namespace, for ever.
pub fn forward(a: &str, b: &str, impairment: &Impairment) -> Result<()> {
    let sockets = [open(a)?, open(b)?];
    let mut fates = [Fate::new(impairment.seed), Fate::new(!impairment.seed)];
    let mut waiting: BinaryHeap<Reverse<Delayed>> = BinaryHeap::new();
    let mut order = 0;
    let mut buffer = vec![0; 1 << 17];
    println!("forwarding");
    loop {
        let timeout = waiting.peek().map_or(PollTimeout::NONE, |Reverse(next)| {
            let left = next.due.saturating_duration_since(Instant::now());
            PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
        });
        let mut ready =
            sockets.each_ref().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for frames"),
        }
        for from in 0..2 {
            while let Ok(len) = recv(sockets[from].as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)
            {
                for extra in fates[from].decide(impairment) {
                    let due = Instant::now() + Duration::from_millis(impairment.delay) + extra;
                    order += 1;
                    let frame = buffer[..len].to_vec();
                    waiting.push(Reverse(Delayed { due, order, to: 1 - from, frame }));
                }
            }
        }
        while waiting.peek().is_some_and(|Reverse(next)| next.due <= Instant::now()) {
            let Some(Reverse(next)) = waiting.pop() else { break };
            // A full queue loses frames, as queues do.
            let _ = send(sockets[next.to].as_raw_fd(), &next.frame, MsgFlags::empty());
        }
    }
}

#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Delayed {
    due: Instant,
    order: u64,
    to: usize,
    frame: Vec<u8>,
}

/// One direction's source of chance (splitmix64).
struct Fate(u64);

impl Fate {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// For each copy of the frame that arrives, how much later than usual.
    fn decide(&mut self, impairment: &Impairment) -> Vec<Duration> {
        // Three draws each time, so that one probability does not move the others' choices.
        let (loss, duplicate, reorder) = (self.draw(), self.draw(), self.draw());
        if loss < impairment.loss {
            return Vec::new();
        }
        let late = Duration::from_millis(if reorder < impairment.reorder { 5 } else { 0 });
        if duplicate < impairment.duplicate { vec![late, Duration::ZERO] } else { vec![late] }
    }

    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn open(interface: &str) -> Result<OwnedFd> {
    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    let index = if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
    setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))?;
    option(&socket, libc::PACKET_VNET_HDR, &1i32)?;
    option(&socket, libc::PACKET_IGNORE_OUTGOING, &1i32)?;
    let promiscuous = libc::packet_mreq {
        mr_ifindex: index.cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    option(&socket, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
    // SAFETY: all zeroes is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index.cast_signed();
    // SAFETY: the pointer and the length are those of a sockaddr_ll.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    Errno::result(bound).with_context(|| format!("bind to {interface}"))?;
    Ok(socket)
}

fn option<T>(socket: &OwnedFd, name: i32, value: &T) -> Result<()> {
    // SAFETY: the pointer and the length are those of the value.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            name,
            (&raw const *value).cast(),
            size_of::<T>() as u32,
        )
    };
    Errno::result(set).with_context(|| format!("packet socket option {name}"))?;
    Ok(())
}
