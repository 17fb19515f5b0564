//! Packets as fast as one processor can make them: an XDP program that the kernel runs on frames of its own
//! (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18) and that sends each out of a veth. No socket, no skb, no copy, so
//! whoever gets them does most of the work. The receiving end takes them in its NAPI, as from a NIC.

use crate::bpf::assemble::{
    self, Instruction, Kind, add, and, call, copy, exit, if_greater, load4, or, put2, set, store2,
    xor,
};
use crate::bpf::syscall::{self, TestRun};
use crate::netns::Namespace;
use anyhow::{Context, Result, bail};
use nix::net::if_::if_nametoindex;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

const PRANDOM: i32 = 7;
const REDIRECT: i32 = 23;
const LIVE_FRAMES: u32 = 1 << 1;
const XDP_DROP: i32 = 1;
/// How many frames one system call sends. Each call waits for two grace periods of RCU, in which nothing is sent
/// (the kernel puts the program into its XDP dispatcher, and takes it out): some 20 ms, of 8192 frames nine tenths.
const AT_A_TIME: u32 = 1 << 20;
/// The kernel's own size of a batch.
const BATCH: u32 = 64;

/// A word of the frame with bits that are random each time, and words that are its complement: a sum over it and
/// one of those does not notice. Offsets count from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Varied {
    /// Where the word stands.
    pub number: i16,
    /// Its random bits, which are zero in the frame; the others stay.
    pub bits: u16,
    /// Where its complement does.
    pub complements: &'static [i16],
}

/// A source of packets in a namespace.
#[derive(Debug)]
pub struct Generator {
    program: OwnedFd,
    frame: Vec<u8>,
}

impl Generator {
    /// Frames like this one, out of an interface of the namespace.
    pub fn new(
        namespace: &Namespace,
        interface: &str,
        frame: &[u8],
        varied: &[Varied],
    ) -> Result<Self> {
        if !frame.len().is_multiple_of(2) {
            bail!("frames are written in words of two octets");
        }
        let index = namespace.enter(|| if_nametoindex(interface))??;
        let program = assemble::load(Kind::Xdp, &instructions(frame, index, varied)?)
            .context("load the generator")?;
        Ok(Self { program, frame: frame.to_owned() })
    }

    /// Sends from one processor for about so long; says how many frames and how long it was.
    pub fn send(&self, namespace: &Namespace, time: Duration) -> Result<(u64, Duration)> {
        namespace.enter(|| {
            let mut cpu = CpuSet::new();
            cpu.set(0)?;
            sched_setaffinity(Pid::from_raw(0), &cpu)?;
            let (begin, mut sent) = (Instant::now(), 0);
            while begin.elapsed() < time {
                self.burst()?;
                sent += u64::from(AT_A_TIME);
            }
            Ok((sent, begin.elapsed()))
        })?
    }

    fn burst(&self) -> Result<()> {
        let mut attributes = TestRun {
            prog_fd: self.program.as_raw_fd().cast_unsigned(),
            data_in: self.frame.as_ptr().addr() as u64,
            data_size_in: u32::try_from(self.frame.len())?,
            repeat: AT_A_TIME,
            flags: LIVE_FRAMES,
            batch_size: BATCH,
            ..TestRun::default()
        };
        // SAFETY: the frame has the length that is said, and outlives the call; nothing is written.
        unsafe { syscall::test_run(&mut attributes) }
            .context("send live frames (Linux 5.18 and later do)")
    }
}

/// Writes the whole frame each time: a frame that comes back has been changed by whoever had it.
fn instructions(frame: &[u8], index: u32, varied: &[Varied]) -> Result<Vec<Instruction>> {
    let mut body = Vec::new();
    for (nth, word) in frame.chunks_exact(2).enumerate() {
        let word = u16::from_ne_bytes([word[0], word[1]]);
        body.push(put2(6, i16::try_from(2 * nth)?, word));
    }
    for Varied { number, bits, complements } in varied {
        let at = usize::try_from(*number)?;
        let word = frame.get(at..at + 2).context("a word of the frame")?;
        // As they lie in memory, which is how they are written.
        let stays = u16::from_ne_bytes([word[0], word[1]]);
        let bits = u16::from_ne_bytes(bits.to_be_bytes());
        if stays & bits != 0 {
            bail!("what is random at {at} of the frame is not zero");
        }
        body.extend([call(PRANDOM), and(0, bits.into()), or(0, stays.into())]);
        body.extend([store2(6, *number, 0), xor(0, -1)]);
        body.extend(complements.iter().map(|at| store2(6, *at, 0)));
    }
    body.extend([set(1, index.cast_signed()), set(2, 0), call(REDIRECT), exit()]);
    // Packet pointers outlive calls that do not change packets.
    let mut all = vec![
        load4(6, 1, 0),
        load4(2, 1, 4),
        copy(3, 6),
        add(3, i32::try_from(frame.len())?),
        if_greater(3, 2, i16::try_from(body.len())?),
    ];
    all.extend(body);
    all.extend([set(0, XDP_DROP), exit()]);
    Ok(all)
}

/// Has a veth take packets in a NAPI of its own, as NICs do, or no more: without one nobody can send it XDP
/// frames.
pub fn set_napi(namespace: &Namespace, interface: &str, on: bool) -> Result<()> {
    const ETHTOOL_SGRO: u32 = 0x2c;
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    namespace.enter(|| -> Result<()> {
        // SAFETY: takes numbers only, and the result is looked at.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) };
        if socket < 0 {
            return Err(std::io::Error::last_os_error()).context("open a socket");
        }
        // SAFETY: it is open, and ours alone.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let mut setting = [ETHTOOL_SGRO, u32::from(on)];
        // SAFETY: all zeroes is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().take(15).zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = setting.as_mut_ptr().cast();
        // SAFETY: the request names an interface and leads to an ethtool_value, both alive.
        if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } < 0 {
            return Err(std::io::Error::last_os_error())
                .with_context(|| format!("switch the NAPI of {interface} (its GRO)"));
        }
        Ok(())
    })?
}
