//! Packets whose way through the programs is timed: one for each verdict, and the kinds of segments that differ.

use crate::bpf::test_run::Skb;
use crate::golden::bench::{Bench, REDIRECT, SHOT, Side, TX, UNSPEC, now};
use crate::golden::frame::{Ip4, Ip6, Tcp, UDP, flag, unpadded};
use crate::golden::place::{
    BACKEND, CLIENT_ISN, KEYS, WORLD, backend_segment, client_key, client_segment, from_backend,
    from_client, splice,
};
use ingress::config::{Ipv6Policy, Policy};
use ingress::handshake::Splice;
use ingress_common::cookie;
use ingress_common::tcp::{Seq, SynOptions};
use std::time::Duration;

/// A packet that stays as it is can be run again; of one that is changed, each run needs a new one.
const AGAIN: u32 = 10_000;
const ANEW: usize = 1_000;
/// The best of some is the least disturbed.
const ROUNDS: usize = 5;

/// One packet and the program that gets it.
pub struct Case {
    /// What becomes of it.
    pub name: &'static str,
    /// How many times the yardstick's time it may take, see [`yardstick`].
    pub most: f64,
    side: Side,
    frame: Vec<u8>,
    action: i32,
    kept: bool,
}

impl Case {
    /// Whether the packet stays as it is.
    pub const fn is_kept(&self) -> bool {
        self.kept
    }

    /// What a run takes, if it ends as it should.
    #[track_caller]
    pub fn time(&self, bench: &mut Bench) -> Duration {
        let mut run = |skb: Skb| {
            // Without a daemon nothing is answered, and a thousand runs may take a slow machine seconds.
            bench.secrets.beat(now()).unwrap();
            let ran = bench.time(self.side, &self.frame, skb);
            assert_eq!(ran.action, self.action, "{}", self.name);
            ran.each
        };
        if self.kept {
            let skb = Skb { repeat: AGAIN, ..Skb::default() };
            return (0..ROUNDS).map(|_| run(skb)).min().unwrap_or_default();
        }
        let mut all: Vec<Duration> = (0..ANEW).map(|_| run(Skb::default())).collect();
        all.sort_unstable();
        all[ANEW / 2]
    }
}

/// What everything is compared with: the program that never changes. Runs on a new packet each have what the
/// clock itself takes in them, this one as the others.
pub fn yardstick(kept: bool) -> Case {
    let frame = unpadded(&client_segment().over4(&from_client()));
    Case { name: "yardstick", most: 1.0, side: Side::Baseline, frame, action: UNSPEC, kept }
}

/// Packets that no flow is needed for, and that stay as they are.
pub fn without_flow() -> Vec<Case> {
    let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
    let minted = cookie::mint(&KEYS, now(), &client_key(), Seq(CLIENT_ISN), &SynOptions::default());
    let odd = Tcp { payload: vec![1], ..syn() };
    let last_hop = Ip6 { hop_limit: 1, ..inward.clone() };
    let spoofed = Ip6 { source: *BACKEND.ip(), ..inward };
    let (up, down) = (Side::Uplink, Side::Tunnel);
    [
        ("kernel: not listed", 0.8, up, unlisted()),
        ("kernel: hop limit 1", 0.8, up, last_hop.around(UDP, &[0; 8])),
        ("drop: spoofed", 0.8, up, spoofed.around(UDP, &[0; 8])),
        ("drop: odd SYN", 0.8, up, odd.over4(&from_client())),
        ("absorb: valid cookie", 1.8, up, bare(minted.plus(1).0).over4(&from_client())),
        ("drop: wrong cookie, rationed", 2.6, up, bare(5).over4(&from_client())),
        ("drop: no flow, rationed", 1.4, down, backend_segment().over6(&from_backend())),
    ]
    .map(|case| made(case, true))
    .into()
}

/// Packets that the programs change, most of the flow that [`install`] makes.
pub fn with_flow() -> Vec<Case> {
    let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
    let outward = Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() };
    let stamps = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let sack = [&[1, 1, 5, 26][..], &[9; 24]].concat();
    let stranger = Tcp { source: 77, ..syn() }.over4(&Ip4 { ttl: 50, ..from_client() });
    let small_syn = Tcp { flags: flag::SYN, options: vec![2, 4, 5, 180], ..bare(0) };
    let (small, full) = (client_segment(), Tcp { payload: vec![0; 1300], ..backend_segment() });
    let with = |segment: &Tcp, options: &[u8]| Tcp { options: options.to_vec(), ..segment.clone() };
    let (from, back) = (from_client(), from_backend());
    let (up, down) = (Side::Uplink, Side::Tunnel);
    [
        ("kernel: not listed, anew", 1.4, up, unlisted()),
        ("IPv6 in", 1.6, up, inward.around(UDP, &[0; 1000])),
        ("IPv6 out", 1.4, down, outward.around(UDP, &[0; 1000])),
        ("IPv6 in, SYN", 2.4, up, small_syn.over6(&inward)),
        ("NAT46 in", 2.6, up, small.over4(&from)),
        ("NAT46 in, SACK", 3.3, up, with(&small, &sack).over4(&from)),
        ("NAT46 in, timestamps", 2.7, up, with(&small, &stamps).over4(&from)),
        ("NAT46 in, both", 4.0, up, with(&small, &[&stamps[..], &sack].concat()).over4(&from)),
        ("NAT46 out", 2.9, down, full.over6(&back)),
        ("NAT46 out, timestamps", 3.0, down, with(&full, &stamps).over6(&back)),
        ("SYN answered at tc", 5.2, up, stranger.clone()),
        // For each run the kernel patches its way into XDP programs; on an emulated processor that is most of it.
        ("SYN answered at XDP", 45.0, Side::Shield, stranger),
    ]
    .map(|case| made(case, false))
    .into()
}

/// Installs the flow.
pub fn install(bench: &mut Bench) {
    bench.install(&Splice { ts_delta: Some(0x1234_5678), ..splice() });
}

/// Packets of what the inside has begun under the policy of [`close`].
pub fn tracked() -> Vec<Case> {
    let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
    [
        ("IPv6 in, closed policy, tracked", 4.0, Side::Uplink, inward.around(UDP, &[0; 1000])),
        ("IPv6 out, closed policy, tracked", 4.0, Side::Tunnel, asked()),
    ]
    .map(|case| made(case, false))
    .into()
}

/// Lets nothing in but answers, and has the inside begin something.
pub fn close(bench: &mut Bench) {
    bench.govern(&Policy { ipv6: Ipv6Policy::Closed, ..Policy::default() }, 0);
    bench.time(Side::Tunnel, &unpadded(&asked()), Skb::default());
}

fn asked() -> Vec<u8> {
    let outward = Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() };
    outward.around(UDP, &[0; 1000])
}

/// The first word of a name says what must become of the packet; most leave.
fn made((name, most, side, packet): (&'static str, f64, Side, Vec<u8>), kept: bool) -> Case {
    let action = match name.split(':').next() {
        Some("kernel") => UNSPEC,
        Some("drop" | "absorb") => SHOT,
        _ if side == Side::Shield => TX,
        _ => REDIRECT,
    };
    Case { name, most, side, frame: unpadded(&packet), action, kept }
}

fn unlisted() -> Vec<u8> {
    Tcp { destination: 22, ..bare(0) }.over4(&from_client())
}

fn bare(ack: u32) -> Tcp {
    Tcp { ack, flags: flag::ACK, payload: vec![], ..client_segment() }
}

fn syn() -> Tcp {
    Tcp {
        flags: flag::SYN,
        payload: vec![],
        options: vec![2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 8],
        ..client_segment()
    }
}
