//! Programs that treat all packets alike: they end there, go on, or leave by another interface.

use crate::bpf::assemble::{
    self, Instruction, Kind, add, address_in, atomic_add8, call, copy, exit, if_equal, if_greater,
    load1, load4, set,
};
use crate::bpf::syscall::{self, Counter, Link};
use crate::netns::Namespace;
use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;
use std::os::fd::{AsRawFd, OwnedFd};

const REDIRECT: i32 = 23;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_SHOT: i32 = 2;
/// In `struct __sk_buff`.
const PROTOCOL: i16 = 16;
const DATA: i16 = 76;
const DATA_END: i16 = 80;
/// As `protocol` has it, in network order.
const ARP: i32 = (0x0806_u16.to_be()) as i32;
/// Where IPv6 behind Ethernet says what follows; IPv4 has the flags for fragments there.
const NEXT_HEADER: i16 = 14 + 6;
const ICMPV6: i32 = 58;
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

/// But for what finds neighbours: without an answer to that, the flood would run dry.
fn count_and_end(counter: &Counter) -> Vec<Instruction> {
    let mut end = address_in(1, counter.map()).to_vec();
    end.extend([set(2, 1), atomic_add8(1, 2), set(0, TC_ACT_SHOT), exit()]);
    // Over so many instructions, and over `end`.
    let pass = |over: i16| end.len() as i16 + over;
    let mut all = vec![
        load4(2, 1, PROTOCOL),
        if_equal(2, ARP, pass(7)),
        load4(2, 1, DATA),
        load4(3, 1, DATA_END),
        copy(4, 2),
        add(4, i32::from(NEXT_HEADER) + 1),
        if_greater(4, 3, pass(2)),
        load1(4, 2, NEXT_HEADER),
        if_equal(4, ICMPV6, pass(0)),
    ];
    all.extend(end);
    all.extend([set(0, TC_ACT_UNSPEC), exit()]);
    all
}
