//! Golden packets: what each program makes of one packet, octet by octet, through `BPF_PROG_TEST_RUN`.
//!
//! What runs them is in `ingress_tests::golden`. The kernel's test run always has an Ethernet header: the
//! programs for devices without one run in `wire`, on real ones.

mod admission;
mod announced;
mod attach;
mod device;
mod flow_table;
mod headers;
mod icmp4;
mod ipv6;
mod limits;
mod listed;
mod loads;
mod mss;
mod next_hops;
mod policy;
mod shield;
mod site_numbers;
mod speed;
mod spoofing;
mod storm;
mod strangers;
mod sums;
mod synack;
mod tables;
mod timestamps;
mod to_backend;
mod to_client;
mod watch;
mod wire;
mod on_wire;

use ingress_tests::bpf::test_run;
use ingress_tests::golden::{bench, frame, pins, place};
