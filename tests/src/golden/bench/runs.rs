//! One run of a program: a frame in, and what became of it.

use std::os::fd::{AsFd, BorrowedFd};

use ingress_common::verdict::{Cookie, DropReason};

use super::{Bench, LOOPBACK, Seen, TUNNEL, TX};
use crate::bpf::test_run::{Ran, Skb, test_run, test_run_xdp};
use crate::golden::frame::ethernet;
use crate::golden::place;

/// A program that can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The yardstick, see [`baseline`](crate::bpf::baseline).
    Baseline,
    /// From the world, at tc.
    Uplink,
    /// From a site.
    Tunnel,
    /// From the world, at XDP.
    Shield,
}

impl Bench {
    /// The program itself, for frames that the kernel may not even take.
    pub fn uplink_program(&self) -> BorrowedFd<'_> {
        self.uplink.as_fd()
    }

    /// A frame from the world that ends at the shield.
    #[track_caller]
    pub fn shield_drops(&mut self, frame: &[u8], reason: DropReason) {
        const DROP: i32 = 1;
        let ran = test_run_xdp(self.shield.as_fd(), frame).unwrap();
        let rise = self.traces.rise();
        assert_eq!((ran.action, rise.cookies), (DROP, Vec::new()));
        assert_eq!(rise.drops.iter().filter(|drop| **drop == reason).count(), 1);
    }

    /// A frame from the world at the shield: the answer, or `None` if it goes on untouched.
    #[track_caller]
    pub fn shield(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        const PASS: i32 = 2;
        let ran = test_run_xdp(self.shield.as_fd(), frame).unwrap();
        let cookies = self.traces.rise().cookies;
        let cookies = cookies.iter().filter(|cookie| **cookie == Cookie::Sent).count();
        match ran.action {
            PASS => {
                assert_eq!((frame, cookies), (&ran.frame[..], 0), "what goes on is untouched");
                None
            }
            TX => {
                assert_eq!(cookies, 1);
                Some(ran.frame)
            }
            action => panic!("action {action}"),
        }
    }

    /// A packet from the world, in a frame.
    #[track_caller]
    pub fn uplink(&mut self, packet: &[u8]) -> Seen {
        self.uplink_frame(&ethernet(packet), Skb::default())
    }

    /// A packet from site 0, in a frame.
    #[track_caller]
    pub fn tunnel(&mut self, packet: &[u8]) -> Seen {
        self.tunnel_frame(&ethernet(packet), Skb::default())
    }

    /// A frame from the world.
    #[track_caller]
    pub fn uplink_frame(&mut self, frame: &[u8], skb: Skb) -> Seen {
        self.devices.set_site(0, place::device(TUNNEL, place::MTU, false)).unwrap();
        let ran = test_run(self.uplink.as_fd(), frame, skb);
        self.traces.look(frame, ran.unwrap_or_else(|error| panic!("uplink: {error}")))
    }

    /// A frame from site 0.
    #[track_caller]
    pub fn tunnel_frame(&mut self, frame: &[u8], skb: Skb) -> Seen {
        self.devices.set_site(0, place::device(LOOPBACK, place::MTU, true)).unwrap();
        let ran = test_run(self.tunnel.as_fd(), frame, skb);
        self.traces.look(frame, ran.unwrap_or_else(|error| panic!("tunnel: {error}")))
    }

    /// What came of a run, for whoever wants to know how long it takes; counters and ring are not looked at.
    pub fn time(&mut self, side: Side, frame: &[u8], skb: Skb) -> Ran {
        let (program, tunnel) = match side {
            Side::Baseline => (&self.baseline, TUNNEL),
            Side::Uplink => (&self.uplink, TUNNEL),
            Side::Tunnel => (&self.tunnel, LOOPBACK),
            Side::Shield => return test_run_xdp(self.shield.as_fd(), frame).unwrap(),
        };
        self.devices.set_site(0, place::device(tunnel, place::MTU, false)).unwrap();
        test_run(program.as_fd(), frame, skb).unwrap()
    }
}
