//! ICMP errors: any octets are translated into a whole error or into none, and a packet that an error quotes
//! goes back into what was sent, checksum included.

use std::net::{SocketAddrV4, SocketAddrV6};

use ingress::handshake::Segment;
use ingress::icmp::{
    Mtus, QuotedV4, QuotedV6, Spliced, hop_limit_for_backend, hop_limit_for_client, is_intact_v4,
    is_intact_v6, to_v4, to_v6, too_big_for_backend, too_big_for_client,
};
use ingress::wire::{build_v4, build_v6, read_v4, read_v6};
use ingress_common::addr::{Nat46Prefix, PREFIX_LENGTHS};
use ingress_common::tcp::{Flags, Seq, Timestamps};

use crate::cursor::Cursor;

const IPV4: usize = 20;
const IPV6: usize = 40;
const ICMP: usize = 8;
/// The longest errors that there may be.
const LONGEST: [usize; 2] = [576, 1280];

/// A flow, then a packet.
pub fn run(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let prefix = prefix(&mut cursor);
    let flow = Spliced {
        client: cursor.array(),
        listen: cursor.array(),
        backend: cursor.array(),
        source: cursor.array(),
        delta: cursor.u32(),
        ts_delta: cursor.bool().then(|| cursor.u32()),
        mss: None,
    };
    let mtus = Mtus { uplink: cursor.u16().into(), tunnel: cursor.u16().into() };
    let segment = Segment {
        seq: Seq(cursor.u32()),
        ack: Seq(cursor.u32()),
        flags: Flags::ACK,
        window: cursor.u16(),
        timestamps: cursor.bool().then(|| Timestamps { value: cursor.u32(), echo: cursor.u32() }),
        payload: vec![cursor.u8(); usize::from(cursor.u8())],
        ..Segment::default()
    };
    let ports = (cursor.u16(), cursor.u16());
    let header = cursor.array::<ICMP>();
    quotes_are_what_was_sent(&flow, &segment, ports, header, mtus, &prefix);

    let packet = cursor.rest();
    let _ = QuotedV4::of(packet).map(|quoted| quoted.key());
    let _ = QuotedV6::of(packet).map(|quoted| quoted.key());
    whole_v4(to_v4(packet, &flow, mtus));
    whole_v6(to_v6(packet, &flow, &prefix, mtus));
    whole_v4(too_big_for_client(packet, mtus.tunnel));
    whole_v4(hop_limit_for_client(packet));
    whole_v6(too_big_for_backend(packet, mtus.uplink, flow.source));
    whole_v6(hop_limit_for_backend(packet, flow.source));
}

fn prefix(cursor: &mut Cursor<'_>) -> Nat46Prefix {
    let len = PREFIX_LENGTHS[usize::from(cursor.u8()) % PREFIX_LENGTHS.len()];
    let mut bits = cursor.array::<16>();
    bits[usize::from(len / 8)..].fill(0);
    bits[8] = 0;
    Nat46Prefix::new(bits, len).expect("a prefix as the RFC has it")
}

fn whole_v4(error: Option<Vec<u8>>) {
    let Some(error) = error else { return };
    assert!(is_intact_v4(&error) && error.len() <= LONGEST[0], "{} octets", error.len());
}

fn whole_v6(error: Option<Vec<u8>>) {
    let Some(error) = error else { return };
    assert!(is_intact_v6(&error) && error.len() <= LONGEST[1], "{} octets", error.len());
}

/// A packet of the flow as it arrives, quoted by an error, is the packet that was sent.
fn quotes_are_what_was_sent(
    flow: &Spliced,
    sent: &Segment,
    (client_port, listen_port): (u16, u16),
    header: [u8; ICMP],
    mtus: Mtus,
    prefix: &Nat46Prefix,
) {
    let client = SocketAddrV4::new(flow.client.into(), client_port);
    let listen = SocketAddrV4::new(flow.listen.into(), listen_port);
    let source = SocketAddrV6::new(flow.source.into(), client_port, 0, 0);
    let backend = SocketAddrV6::new(flow.backend.into(), listen_port, 0, 0);
    let ts_delta = flow.ts_delta.unwrap_or(0);

    let arrives = Segment {
        ack: sent.ack.minus(flow.delta),
        timestamps: sent.timestamps.map(|Timestamps { value, echo }| Timestamps {
            value,
            echo: echo.wrapping_sub(ts_delta),
        }),
        ..sent.clone()
    };
    let quoted = build_v6(source, backend, &arrives);
    if let Some(error) = to_v4(&[&[0; IPV6][..], &header, &quoted].concat(), flow, mtus) {
        let quoted = &error[IPV4 + ICMP..];
        let read = read_v4(quoted, quoted.len()).expect("the whole packet is quoted");
        assert_eq!((read.source, read.destination, &read.segment), (client, listen, sent));
    }

    let arrives = Segment {
        seq: sent.seq.plus(flow.delta),
        timestamps: sent.timestamps.map(|Timestamps { value, echo }| Timestamps {
            value: value.wrapping_add(ts_delta),
            echo,
        }),
        ..sent.clone()
    };
    let quoted = build_v4(listen, client, &arrives);
    if let Some(error) = to_v6(&[&[0; IPV4][..], &header, &quoted].concat(), flow, prefix, mtus) {
        let quoted = &error[IPV6 + ICMP..];
        let read = read_v6(quoted, quoted.len()).expect("the whole packet is quoted");
        assert_eq!((read.source, read.destination, &read.segment), (backend, source, sent));
    }
}
