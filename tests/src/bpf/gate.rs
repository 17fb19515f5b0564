//! Programs that treat all packets alike: they end there, go on, or leave by another interface.

use crate::bpf::assemble::{self, Instruction, Kind, address_in, atomic_add8, call, exit, set};
use crate::bpf::syscall::{self, Counter, Link};
use crate::netns::Namespace;
use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use std::os::fd::{AsRawFd, OwnedFd};

const REDIRECT: i32 = 23;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
const TC_ACT_SHOT: i32 = 2;
/// Of `enum bpf_attach_type`, and the flag for the driver's own XDP.
const ATTACH_XDP: u32 = 37;
const ATTACH_TCX_INGRESS: u32 = 46;
const ATTACH_TCX_EGRESS: u32 = 47;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// What becomes of a packet there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It ends in the driver, at XDP.
    Wall,
    /// It goes on. A veth sends an `XDP_TX` only to a peer that has a program.
    Door,
    /// It is counted and ends, where it comes in as a packet of the kernel (tcx, Linux 6.6).
    Sink,
    /// It is counted and ends, where it was to go out by the driver (tcx).
    Brink,
    /// It leaves by the interface with this index, as it is (tcx).
    Chute(u32),
}

/// Such a program on an interface, until this is dropped.
#[derive(Debug)]
pub struct Gatekeeper {
    counter: Counter,
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Gatekeeper {
    /// Attaches it.
    pub fn post(namespace: &Namespace, interface: &str, gate: Gate) -> Result<Self> {
        let counter = Counter::new().context("a map of one counter")?;
        let (kind, attach_type, flags) = match gate {
            Gate::Wall | Gate::Door => (Kind::Xdp, ATTACH_XDP, XDP_FLAGS_DRV_MODE),
            Gate::Sink | Gate::Chute(_) => (Kind::Tc, ATTACH_TCX_INGRESS, 0),
            Gate::Brink => (Kind::Tc, ATTACH_TCX_EGRESS, 0),
        };
        let program = match gate {
            Gate::Wall => vec![set(0, XDP_DROP), exit()],
            Gate::Door => vec![set(0, XDP_PASS), exit()],
            Gate::Sink | Gate::Brink => count_and_end(&counter),
            Gate::Chute(index) => {
                vec![set(1, index.cast_signed()), set(2, 0), call(REDIRECT), exit()]
            }
        };
        let program = assemble::load(kind, &program)?;
        let link = namespace.enter(|| -> Result<OwnedFd> {
            let mut attributes = Link {
                prog_fd: program.as_raw_fd().cast_unsigned(),
                target_ifindex: if_nametoindex(interface)?,
                attach_type,
                flags,
                ..Link::default()
            };
            syscall::link(&mut attributes).with_context(|| format!("{gate:?} on {interface}"))
        })??;
        Ok(Self { counter, _program: program, _link: link })
    }

    /// How many packets have ended there, of those that are counted.
    pub fn count(&self) -> Result<u64> {
        self.counter.read().context("read the counter")
    }
}

fn count_and_end(counter: &Counter) -> Vec<Instruction> {
    let mut all = address_in(1, counter.map()).to_vec();
    all.extend([set(2, 1), atomic_add8(1, 2), set(0, TC_ACT_SHOT), exit()]);
    all
}
