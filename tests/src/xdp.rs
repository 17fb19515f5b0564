//! An XDP program that lets everything pass. A veth takes what an XDP program of its peer sends only if it has one
//! itself.

use crate::netns::Namespace;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

// Of linux/bpf.h and linux/if_link.h.
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
const DRIVER_MODE: u32 = 1 << 2;
/// `r0 = XDP_PASS; exit`.
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// The first fields of `union bpf_attr` for loading.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log: [u64; 2],
}

/// The same for attaching.
#[repr(C)]
struct Attach {
    program: i32,
    interface: u32,
    kind: u32,
    flags: u32,
}

/// The program on an interface, in the driver; off when dropped.
#[derive(Debug)]
pub struct Pass {
    _link: OwnedFd,
}

impl Pass {
    /// Attaches it.
    pub fn attach(namespace: &Namespace, interface: &str) -> Result<Self> {
        let load = Load {
            kind: TYPE_XDP,
            instructions: PASS.len() as u32,
            program: PASS.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log: [0; 2],
        };
        let program = bpf(PROG_LOAD, &load).context("load an XDP program")?;
        let link = namespace.enter(|| -> Result<OwnedFd> {
            let attach = Attach {
                program: program.as_raw_fd(),
                interface: if_nametoindex(interface)?,
                kind: ATTACH_XDP,
                flags: DRIVER_MODE,
            };
            bpf(LINK_CREATE, &attach).with_context(|| format!("attach it to {interface}"))
        })??;
        Ok(Self { _link: link })
    }
}

/// A command of bpf(2) that makes a file descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<OwnedFd> {
    // SAFETY: the kernel reads so many octets of attributes, and what the pointers in them lead to is static.
    let made = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    let made = Errno::result(made)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made as i32) })
}
