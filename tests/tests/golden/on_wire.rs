//! Each program with and without Ethernet headers, on real devices: what reaches the other end, with the
//! checksums and segments that the kernel makes of it at last.

use ingress::handshake::Splice;
use ingress_common::cookie;
use ingress_common::tcp::{Seq, SynOptions};
use ingress_common::upcall::Upcall;
use ingress_common::verdict::DropReason;

use crate::bench::now;
use crate::device::Offload;
use crate::frame::{Ip4, Ip6, MF, Tcp, UDP, flag, read_ip6, read4, read6};
use crate::place::{
    BACKEND, BACKEND_ISN, CLIENT, CLIENT_ISN, COOKIE, KEYS, LISTEN, MTU, WORLD, backend_key,
    backend_segment, client_key, client_segment, from_backend, from_client, splice, to_backend,
    to_client, tuple,
};
use crate::wire::{Wire, on_every_wire};

const DELTA: u32 = COOKIE.wrapping_sub(BACKEND_ISN);
const SINGLE: [Offload; 2] = [Offload::None, Offload::Checksum];

/// The packet as a sender leaves it to the device: with the pseudo-header's sum where the checksum goes.
fn unsummed(mut packet: Vec<u8>) -> Vec<u8> {
    let (at, addresses) = if packet[0] >> 4 == 6 { (40, 8..40) } else { (20, 12..20) };
    let len = (packet.len() - at) as u16;
    let pseudo = [&packet[addresses], &[0, 6], &len.to_be_bytes()].concat();
    let sum = !ingress_tests::segment::checksum(&pseudo);
    packet[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn prepared(packet: Vec<u8>, offload: Offload) -> Vec<u8> {
    if offload == Offload::None { packet } else { unsummed(packet) }
}

fn install(wire: &mut Wire) {
    wire.flows.install(tuple(), &splice(), now()).unwrap();
}

/// Half-finished checksums, and batches that the kernel cuts up behind us: each segment has the clock.
#[test]
fn timestamps_both_ways() {
    on_every_wire(|wire| {
        let ts_delta = 0xcafe_f00d;
        let splice = Splice { ts_delta: Some(ts_delta), ..splice() };
        wire.flows.install(tuple(), &splice, now()).unwrap();
        let options = |nops: usize, value: u32, echo: u32| {
            let mut area = vec![1; nops];
            area.extend([8, 10]);
            area.extend([value.to_be_bytes(), echo.to_be_bytes()].concat());
            area.resize(area.len().next_multiple_of(4), 0);
            area
        };
        let size = 1200;
        for nops in [2, 3, 6] {
            let (sent, arrives) =
                (options(nops, 1, 2), options(nops, 1, 2u32.wrapping_sub(ts_delta)));
            let payload = vec![7; 3 * size];
            let there = Tcp { options: sent.clone(), ..client_segment() };
            for offload in SINGLE {
                wire.uplink.send(&prepared(there.over4(&from_client()), offload), offload);
                assert_eq!(read6(&wire.tunnel.receive()).1.options, arrives, "{offload:?}");
            }
            let batch = Tcp { payload: payload.clone(), ..there };
            let offload = Offload::Segments(size as u16);
            wire.uplink.send(&unsummed(batch.over4(&from_client())), offload);
            for _ in 0..3 {
                let (_, tcp) = read6(&wire.tunnel.receive());
                assert_eq!((tcp.options, tcp.payload.len()), (arrives.clone(), size));
            }
            let arrives = options(nops, 1u32.wrapping_add(ts_delta), 2);
            let back = Tcp { options: sent, ..backend_segment() };
            for offload in SINGLE {
                wire.tunnel.send(&prepared(back.over6(&from_backend()), offload), offload);
                assert_eq!(read4(&wire.uplink.receive()).1.options, arrives, "{offload:?}");
            }
            let batch = Tcp { payload, ..back };
            wire.tunnel.send(&unsummed(batch.over6(&from_backend())), offload);
            for _ in 0..3 {
                let (_, tcp) = read4(&wire.uplink.receive());
                assert_eq!((tcp.options, tcp.payload.len()), (arrives.clone(), size));
            }
        }
        assert_eq!(wire.all_drops(), 0);
    });
}

#[test]
fn ipv6_both_ways() {
    on_every_wire(|wire| {
        let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
        let outward = Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() };
        let syn = Tcp { flags: flag::SYN, options: vec![2, 4, 5, 180], ..Tcp::default() };
        let clamped = Tcp { options: vec![2, 4, 5, 80], ..syn.clone() };
        for offload in SINGLE {
            wire.uplink.send(&prepared(syn.over6(&inward), offload), offload);
            let arrived = wire.tunnel.receive();
            assert_eq!(read6(&arrived), (Ip6 { hop_limit: 63, ..inward.clone() }, clamped.clone()));
            wire.tunnel.send(&prepared(syn.over6(&outward), offload), offload);
            let arrived = wire.uplink.receive();
            assert_eq!(
                read6(&arrived),
                (Ip6 { hop_limit: 63, ..outward.clone() }, clamped.clone())
            );
        }
        wire.uplink.send(&inward.around(UDP, &[0; 8]), Offload::None);
        assert_eq!(read_ip6(&wire.tunnel.receive()).0.hop_limit, 63);
        assert_eq!(wire.all_drops(), 0);
    });
}

/// A tag of no VLAN says how urgent a frame is. Neither do spoofed packets pass by it, nor do others keep it.
#[test]
fn priority_tags() {
    on_every_wire(|wire| {
        let urgent = [0xa0, 0];
        if wire.uplink.ethernet {
            let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
            wire.uplink.send_tagged(&inward.around(UDP, &[0; 8]), urgent);
            assert_eq!(read_ip6(&wire.tunnel.receive()).0.hop_limit, 63);
            let spoofed = Ip6 { source: *BACKEND.ip(), ..inward };
            wire.uplink.send_tagged(&spoofed.around(UDP, &[0; 8]), urgent);
            wire.tunnel.is_silent();
            assert_eq!(wire.drops(DropReason::SpoofedFromWorld), 1);
            // In another VLAN, it is another network's.
            wire.uplink.send_tagged(&spoofed.around(UDP, &[0; 8]), [0xa0, 7]);
            wire.tunnel.is_silent();
            assert_eq!(wire.drops(DropReason::SpoofedFromWorld), 1);
        }
        if wire.tunnel.ethernet {
            let outward = Ip6 { source: *BACKEND.ip(), destination: WORLD, ..Ip6::default() };
            wire.tunnel.send_tagged(&outward.around(UDP, &[0; 8]), urgent);
            assert_eq!(read_ip6(&wire.uplink.receive()).0.hop_limit, 63);
            let spoofed = Ip6 { source: WORLD, ..outward };
            wire.tunnel.send_tagged(&spoofed.around(UDP, &[0; 8]), urgent);
            wire.uplink.is_silent();
            assert_eq!(wire.drops(DropReason::SpoofedFromSite), 1);
            install(wire);
            wire.tunnel.send_tagged(&backend_segment().over6(&from_backend()), urgent);
            read4(&wire.uplink.receive());
        }
    });
}

/// What is left to the kernel, the kernel does as a router should.
#[test]
fn the_kernel_answers_for_ipv6() {
    on_every_wire(|wire| {
        let inward = Ip6 { source: WORLD, destination: *BACKEND.ip(), ..Ip6::default() };
        let last = Ip6 { hop_limit: 1, ..inward.clone() };
        wire.uplink.send(&last.around(UDP, &[0; 8]), Offload::None);
        let answer = wire.uplink.receive();
        assert_eq!((answer[6], answer[40]), (58, 3), "Time Exceeded");
        wire.uplink.send(&inward.around(UDP, &vec![0; MTU as usize - 39]), Offload::None);
        let answer = wire.uplink.receive();
        assert_eq!((answer[6], answer[40]), (58, 2), "Packet Too Big");
        assert_eq!(answer[44..48], MTU.to_be_bytes());
        wire.tunnel.is_silent();
        assert_eq!(wire.all_drops(), 0);
    });
}

#[test]
fn a_spliced_flow_both_ways() {
    on_every_wire(|wire| {
        install(wire);
        let there = Tcp {
            options: [&[1, 1, 5, 10][..], &COOKIE.to_be_bytes(), &(COOKIE + 9).to_be_bytes()]
                .concat(),
            ..client_segment()
        };
        let moved = Tcp {
            ack: there.ack.wrapping_sub(DELTA),
            options: [
                &[1, 1, 5, 10][..],
                &BACKEND_ISN.to_be_bytes(),
                &(BACKEND_ISN + 9).to_be_bytes(),
            ]
            .concat(),
            ..there.clone()
        };
        let back = backend_segment();
        let shifted = Tcp { seq: back.seq.wrapping_add(DELTA), ..back.clone() };
        for offload in SINGLE {
            let v4 = Ip4 { tos: 0xb9, ..from_client() };
            wire.uplink.send(&prepared(there.over4(&v4), offload), offload);
            let expected = Ip6 { class: 0xb9, hop_limit: 63, ..to_backend() };
            assert_eq!(read6(&wire.tunnel.receive()), (expected, moved.clone()), "{offload:?}");

            let v6 = Ip6 { class: 0xb9, flow_label: 7, ..from_backend() };
            wire.tunnel.send(&prepared(back.over6(&v6), offload), offload);
            let (ip, tcp) = read4(&wire.uplink.receive());
            assert_eq!(ip, Ip4 { tos: 0xb9, ttl: 63, fragment: 0, id: ip.id, ..to_client() });
            assert_eq!(tcp, shifted, "{offload:?}");
        }
        assert_eq!(wire.all_drops(), 0);
    });
}

/// One rewrite for a whole batch, which the kernel cuts up behind us: each segment has to be right.
#[test]
fn batches_both_ways() {
    const PIECE: usize = 1300;
    let payload: Vec<u8> = (0..20_000u32).map(|nth| (nth * 31 % 251) as u8).collect();
    on_every_wire(|wire| {
        install(wire);
        let offload = Offload::Segments(PIECE as u16);
        let flags = flag::ACK | flag::PSH;
        let there = Tcp { flags, payload: payload.clone(), ..client_segment() };
        wire.uplink.send(&unsummed(there.over4(&from_client())), offload);
        for (nth, piece) in payload.chunks(PIECE).enumerate() {
            let (ip, tcp) = read6(&wire.tunnel.receive());
            assert_eq!(ip, Ip6 { hop_limit: 63, ..to_backend() });
            assert_eq!(tcp.seq, there.seq.wrapping_add((nth * PIECE) as u32));
            assert_eq!((tcp.ack, tcp.payload.as_slice()), (there.ack.wrapping_sub(DELTA), piece));
        }
        let back = Tcp { flags, payload: payload.clone(), ..backend_segment() };
        wire.tunnel.send(&unsummed(back.over6(&from_backend())), offload);
        for (nth, piece) in payload.chunks(PIECE).enumerate() {
            let (ip, tcp) = read4(&wire.uplink.receive());
            assert_eq!((ip.ttl, ip.fragment), (63, crate::frame::DF));
            let seq = back.seq.wrapping_add(DELTA).wrapping_add((nth * PIECE) as u32);
            assert_eq!((tcp.seq, tcp.payload.as_slice()), (seq, piece));
        }
        assert_eq!(wire.all_drops(), 0);
    });
}

#[test]
fn a_syn_is_answered_where_it_came_from() {
    let all = vec![2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 8];
    on_every_wire(|wire| {
        for options in [vec![], vec![2, 4, 5, 180], all.clone(), vec![1; 40]] {
            for offload in SINGLE {
                let syn = Tcp {
                    seq: CLIENT_ISN,
                    ack: 0,
                    flags: flag::SYN,
                    options: options.clone(),
                    payload: vec![],
                    ..client_segment()
                };
                wire.uplink.send(&prepared(syn.over4(&from_client()), offload), offload);
                let (ip, tcp) = read4(&wire.uplink.receive());
                assert_eq!((ip.source, ip.destination), (*LISTEN.ip(), *CLIENT.ip()));
                assert_eq!((tcp.ack, tcp.flags), (CLIENT_ISN + 1, flag::SYN | flag::ACK));
                let checked =
                    cookie::check(&KEYS, now(), &client_key(), Seq(CLIENT_ISN + 1), Seq(tcp.seq));
                assert_eq!(checked.unwrap().client_isn, Some(Seq(CLIENT_ISN)));
            }
        }
        assert_eq!(wire.all_drops(), 0);
    });
}

/// A checksum that the device is to put where the answer ends before: the kernel refuses to cut it off.
#[test]
fn a_syn_that_cannot_be_cut() {
    on_every_wire(|wire| {
        let options = vec![1; 40];
        let syn = Tcp { flags: flag::SYN, options, payload: vec![], ..client_segment() };
        let link = if wire.uplink.ethernet { 14 } else { 0 };
        wire.uplink.send_with(&syn.over4(&from_client()), [1, 0], [0, 0, link + 60, 10]);
        wire.uplink.is_silent();
        assert_eq!(wire.drops(DropReason::KernelRefused), 1);
    });
}

/// From the network header on, whatever stands before it; a batch of the largest hello included.
#[test]
fn what_is_handed_up_starts_with_its_ip_header() {
    on_every_wire(|wire| {
        let options = SynOptions::default();
        let cookie = cookie::mint(&KEYS, now(), &client_key(), Seq(CLIENT_ISN), &options);
        for (len, offload) in [
            (5, Offload::None),
            (1400, Offload::Checksum),
            (16_000, Offload::Segments(1360)),
            (40_000, Offload::Segments(1360)),
        ] {
            let payload: Vec<u8> = (0..len).map(|nth| nth as u8).collect();
            let hello = Tcp { ack: cookie.plus(1).0, payload, ..client_segment() };
            let hello = prepared(hello.over4(&from_client()), offload);
            wire.uplink.send(&hello, offload);
            wire.tunnel.is_silent();
            let records = wire.records();
            assert_eq!(records.len(), 1, "{len}");
            assert_eq!((records[0].kind, records[0].len), (Upcall::Client, hello.len()));
            assert_eq!(records[0].ifindex, wire.uplink.index);
            let captured = hello.len().min(ingress_common::upcall::LARGE);
            assert_eq!(records[0].packet, hello[..captured]);
        }
        wire.marks.expect(&backend_key(), now()).unwrap();
        let answer = backend_segment().over6(&from_backend());
        wire.tunnel.send(&answer, Offload::None);
        wire.uplink.is_silent();
        let records = wire.records();
        assert_eq!((records[0].kind, &records[0].packet), (Upcall::Backend, &answer));
        assert_eq!(wire.all_drops(), 0);
    });
}

/// The host's own TCP answers on every port but the listed one.
#[test]
fn the_host_stays_out_of_it() {
    on_every_wire(|wire| {
        let other = Tcp { destination: 81, flags: flag::SYN, payload: vec![], ..client_segment() };
        wire.uplink.send(&other.over4(&from_client()), Offload::None);
        let (_, reset) = read4(&wire.uplink.receive());
        assert_eq!((reset.flags & flag::RST, reset.source), (flag::RST, 81));

        for flags in [0, flag::ACK, flag::RST, flag::FIN, flag::SYN | flag::ACK, 0xff] {
            let packet = Tcp { flags, ..client_segment() }.over4(&from_client());
            for len in [24, 28, 36, 40, packet.len()] {
                wire.uplink.send(&packet[..len], Offload::None);
            }
            let options = Ip4 { options: vec![1; 4], ..from_client() };
            wire.uplink.send(&Tcp { flags, ..client_segment() }.over4(&options), Offload::None);
        }
        // In fragments of every size, the smallest of which hold no whole header.
        let segment = Tcp { payload: vec![0; 44], ..client_segment() }.over4(&from_client());
        let segment = &segment[20..];
        for size in (8..=56).step_by(8) {
            for (nth, piece) in segment.chunks(size).enumerate() {
                let more = if (nth + 1) * size < segment.len() { MF } else { 0 };
                let fragment = (nth * size / 8) as u16 | more;
                let ip = Ip4 { fragment, id: size as u16, ..from_client() };
                wire.uplink.send(&ip.around(6, piece), Offload::None);
            }
        }
        wire.uplink.is_silent();
        wire.tunnel.is_silent();
    });
}
