//! The programs on a bench: one packet in, everything that became of it out.
//!
//! `bench` sets up tables, runs a program and says what became of the packet; `frame` builds and reads packets and never
//! asks the code under test how; `place` is the network that the tables describe.

pub mod bench;
pub mod cases;
pub mod frame;
pub mod pins;
pub mod place;
pub mod seen;
