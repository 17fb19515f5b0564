//! The targets: each takes any octets, makes of them what may come from outside, and panics where something
//! does not hold. `cargo xtask fuzz` looks for such octets; `tests/corpus.rs` tries those that are known.

pub mod config;
pub mod control;
pub mod cookie;
pub mod cursor;
pub mod hello;
pub mod icmp;
pub mod packet;
pub mod policy;
pub mod postgres;
pub mod splice;
pub mod stream;

/// One thing to throw octets at.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its module, its corpus, and its program in `driver`.
    pub name: &'static str,
    /// Takes the octets; panics where something does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 10] = [
    Target { name: "config", run: config::run },
    Target { name: "control", run: control::run },
    Target { name: "cookie", run: cookie::run },
    Target { name: "hello", run: hello::run },
    Target { name: "icmp", run: icmp::run },
    Target { name: "packet", run: packet::run },
    Target { name: "policy", run: policy::run },
    Target { name: "postgres", run: postgres::run },
    Target { name: "splice", run: splice::run },
    Target { name: "stream", run: stream::run },
];
