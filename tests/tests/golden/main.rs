//! Golden packets: what each program makes of one packet, octet by octet, through `BPF_PROG_TEST_RUN`.
//!
//! `bench` runs a program and says what became of the packet; `frame` builds and reads packets and never
//! asks the code under test how; `place` is the network that the tables describe. The kernel's test run
//! always has an Ethernet header: the programs for devices without one run in `wire`, on real ones.

mod admission;
mod bench;
mod device;
mod frame;
mod icmp4;
mod ipv6;
mod limits;
mod listed;
mod loads;
mod mss;
mod pins;
mod place;
mod policy;
mod seen;
mod shield;
mod speed;
mod spoofing;
mod strangers;
mod sums;
mod synack;
mod test_run;
mod timestamps;
mod to_backend;
mod to_client;
mod watch;
mod wire;
mod on_wire;
