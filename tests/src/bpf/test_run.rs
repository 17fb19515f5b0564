//! `BPF_PROG_TEST_RUN` itself. aya has it too, but without the flag for whole-packet checksums.

use crate::bpf::syscall::{self, TestRun};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Gives the packet `CHECKSUM_COMPLETE`, and fails with `EBADMSG` if the sum is wrong afterwards.
const BPF_F_TEST_SKB_CHECKSUM_COMPLETE: u32 = 1 << 2;
/// Room for what comes out.
const LARGEST: usize = 16 << 10;
/// Size of `struct __sk_buff`, and where those of its fields stand that a test may set.
const CONTEXT: usize = 192;
const IFINDEX: usize = 40;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

/// What an skb is besides its octets.
#[derive(Clone, Copy, Debug)]
pub struct Skb {
    /// Payload octets of each segment of a GRO batch.
    pub gso_size: u32,
    /// Segments of a GRO batch.
    pub gso_segs: u32,
    /// The interface it came by; 1 is the loopback device.
    pub ifindex: u32,
    /// The device has summed up the whole packet (`CHECKSUM_COMPLETE`).
    pub summed: bool,
    /// How often the program runs on it.
    pub repeat: u32,
}

impl Default for Skb {
    fn default() -> Self {
        Self { gso_size: 0, gso_segs: 0, ifindex: 1, summed: false, repeat: 1 }
    }
}

/// What came back.
pub struct Ran {
    /// The program's return value.
    pub action: i32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Time for one run.
    pub each: Duration,
}

/// Whether a test run can translate a batch. Before 5.14 the kernel asks for a kind of batch that a test run
/// has no way to name; there, only the real devices of `on_wire` show what becomes of one.
pub fn translates_batches() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(14))
}

/// Runs a tc program on a frame.
///
/// A kernel that cannot be told of a whole-packet checksum runs it without.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], skb: Skb) -> io::Result<Ran> {
    let ran = attempt(program, frame, skb);
    match ran {
        Err(error) if skb.summed && error.raw_os_error() == Some(libc::EINVAL) => {
            attempt(program, frame, Skb { summed: false, ..skb })
        }
        other => other,
    }
}

fn attempt(program: BorrowedFd<'_>, frame: &[u8], skb: Skb) -> io::Result<Ran> {
    let mut context = [0u8; CONTEXT];
    let mut set = |at: usize, value: u32| {
        context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    };
    set(IFINDEX, skb.ifindex);
    set(GSO_SEGS, skb.gso_segs);
    set(GSO_SIZE, skb.gso_size);
    let attributes = TestRun {
        repeat: skb.repeat,
        ctx_size_in: CONTEXT as u32,
        ctx_in: context.as_ptr().addr() as u64,
        flags: if skb.summed { BPF_F_TEST_SKB_CHECKSUM_COMPLETE } else { 0 },
        ..TestRun::default()
    };
    run(program, frame, attributes)
}

/// Runs an XDP program on a frame.
pub fn test_run_xdp(program: BorrowedFd<'_>, frame: &[u8]) -> io::Result<Ran> {
    run(program, frame, TestRun { repeat: 1, ..TestRun::default() })
}

/// Whatever context the attributes lead to must outlive the call.
fn run(program: BorrowedFd<'_>, frame: &[u8], attributes: TestRun) -> io::Result<Ran> {
    let mut out = vec![0u8; LARGEST];
    let mut attributes = TestRun {
        prog_fd: u32::try_from(program.as_raw_fd()).unwrap(),
        data_size_in: u32::try_from(frame.len()).unwrap(),
        data_size_out: u32::try_from(out.len()).unwrap(),
        data_in: frame.as_ptr().addr() as u64,
        data_out: out.as_mut_ptr().addr() as u64,
        ..attributes
    };
    // SAFETY: every pointer in the attributes leads to as many octets as the size beside it says, all of
    // which outlive the call.
    unsafe { syscall::test_run(&mut attributes) }?;
    out.truncate(attributes.data_size_out as usize);
    Ok(Ran {
        action: attributes.retval.cast_signed(),
        frame: out,
        each: Duration::from_nanos(attributes.duration.into()),
    })
}
