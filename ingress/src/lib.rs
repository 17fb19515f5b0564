//! The library behind `ingressd` and `ingressctl`. Modules stand in the order in which data meets them.

pub mod capabilities;
mod clock;
pub mod config;
pub mod dataplane;
pub mod netlink;
pub mod wireguard;
pub mod wire;
pub mod upcall;
mod fairness;
pub mod host_name;
pub mod handshake;
pub mod sni;
pub mod policy;
pub mod postgres;
pub mod dns;
pub mod flows;
pub mod icmp;
pub mod transmit;
pub mod control;
pub mod metrics;
pub mod cli;
pub mod daemon;
