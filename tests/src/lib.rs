//! The lab: client, internet, VPS and home as network namespaces of one machine, joined by a real
//! WireGuard tunnel, with real servers, clients and the daemon running in them.
//!
//! ```text
//!   client ──── inet ──── vps ═══ WireGuard ═══ home ─┬─ www
//!                 └───────────────(ISP)──────────┘    └─ db
//! ```

pub mod addresses;
pub mod bpf;
pub mod capture;
pub mod cleanup;
pub mod client;
pub mod container;
pub mod daemon;
pub mod flood;
pub mod golden;
pub mod hello;
pub mod icmp;
pub mod impair;
pub mod netns;
pub mod packet_socket;
pub mod paths;
pub mod plain;
pub mod process;
pub mod programs;
pub mod rawclient;
pub mod segment;
pub mod servers;
pub mod shared;
pub mod sites;
pub mod topology;
pub mod transfers;
pub mod wireguard;

pub use topology::Lab;
