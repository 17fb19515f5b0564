//! bpf(2), as far as it is needed here.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_LINK_CREATE: libc::c_int = 28;

/// `union bpf_attr` of `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
pub struct Load {
    pub prog_type: u32,
    pub insn_cnt: u32,
    pub insns: u64,
    pub license: u64,
    pub log_level: u32,
    pub log_size: u32,
    pub log_buf: u64,
    pub kern_version: u32,
    pub prog_flags: u32,
}

/// `union bpf_attr` of `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
pub struct TestRun {
    pub prog_fd: u32,
    pub retval: u32,
    pub data_size_in: u32,
    pub data_size_out: u32,
    pub data_in: u64,
    pub data_out: u64,
    pub repeat: u32,
    pub duration: u32,
    pub ctx_size_in: u32,
    pub ctx_size_out: u32,
    pub ctx_in: u64,
    pub ctx_out: u64,
    pub flags: u32,
    pub cpu: u32,
    pub batch_size: u32,
    pub reserved: u32,
}

/// `union bpf_attr` of `BPF_LINK_CREATE`.
#[repr(C)]
#[derive(Default)]
pub struct Link {
    pub prog_fd: u32,
    pub target_ifindex: u32,
    pub attach_type: u32,
    pub flags: u32,
    pub rest: [u64; 4],
}

/// `union bpf_attr` of `BPF_MAP_CREATE`, as far as it is needed.
#[repr(C)]
#[derive(Default)]
struct Map {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// `union bpf_attr` of `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A number of 64 bits that programs add to: an array map with one value.
#[derive(Debug)]
pub struct Counter(OwnedFd);

impl Counter {
    pub fn new() -> io::Result<Self> {
        const BPF_MAP_TYPE_ARRAY: u32 = 2;
        let mut attributes =
            Map { map_type: BPF_MAP_TYPE_ARRAY, key_size: 4, value_size: 8, max_entries: 1 };
        // SAFETY: there are no pointers in these.
        let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attributes) }?;
        // SAFETY: the kernel has just made it for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn map(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub fn read(&self) -> io::Result<u64> {
        let (key, mut value) = (0u32, 0u64);
        let mut attributes = Element {
            map_fd: self.0.as_raw_fd().cast_unsigned(),
            key: (&raw const key).addr() as u64,
            value: (&raw mut value).addr() as u64,
            ..Element::default()
        };
        // SAFETY: key and value have the map's sizes, and outlive the call.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attributes) }?;
        Ok(value)
    }
}

/// # Safety
/// The pointers must lead to as much as the counts beside them say.
pub unsafe fn load(attributes: &mut Load) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(BPF_PROG_LOAD, attributes) }?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// As of [`load`]; what `data_out` leads to is written.
pub unsafe fn test_run(attributes: &mut TestRun) -> io::Result<()> {
    // SAFETY: the caller's promise.
    unsafe { bpf(BPF_PROG_TEST_RUN, attributes) }.map(drop)
}

pub fn link(attributes: &mut Link) -> io::Result<OwnedFd> {
    // SAFETY: there are no pointers in these.
    let fd = unsafe { bpf(BPF_LINK_CREATE, attributes) }?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// # Safety
/// `attributes` must be those of the command, and lead nowhere wrong.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the caller's promise; the size is that of the type.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
