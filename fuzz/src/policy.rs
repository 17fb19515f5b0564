//! The policy: of any packet's headers the walk of the programs finds what a plain reading does, and reads nothing behind
//! the packet's end; a connection lets in what the inside has asked for, and the outside prolongs nothing.

use std::cell::Cell;

use ingress_common::ip::{ICMPV6, TCP, UDP};
use ingress_common::policy::{
    Connection, ESTABLISHED, Fragment, MAX_EXTENSION_HEADERS, Octets, Piece, Stage, UDP_IDLE,
    UpperLayer, is_extension_header, parse_extension_header,
};
use ingress_common::tcp::Flags;

use crate::cursor::Cursor;

const IPV6: usize = 40;
const SECOND: u64 = 1_000_000_000;

/// What a connection meets: how many, and then a pause, who sends, and with which flags. Behind that a packet: the kind
/// of its first header, the length that it claims, and the octets behind the IPv6 header.
pub fn run(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let meetings = cursor.u8() & 15;
    connection(&mut cursor, meetings);
    let first = cursor.u8();
    let claimed = usize::from(cursor.u16());
    headers(first, claimed, cursor.rest());
}

/// A packet that tells how far it was read.
struct Packet<'a> {
    behind_ip: &'a [u8],
    read: Cell<usize>,
}

impl Octets for Packet<'_> {
    fn load<const N: usize>(&self, offset: u32, into: &mut [u8; N]) -> bool {
        let from = (offset as usize).checked_sub(IPV6).expect("the IPv6 header was read before");
        let Some(octets) = self.behind_ip.get(from..from + N) else { return false };
        self.read.set(self.read.get().max(from + N));
        into.copy_from_slice(octets);
        true
    }
}

fn headers(first: u8, claimed: usize, behind_ip: &[u8]) {
    let packet = Packet { behind_ip, read: Cell::new(0) };
    let mut upper = UpperLayer::default();
    let end = (IPV6 + claimed) as u32;
    let readable = upper.read(&packet, first, end, 0x0123_4567_89ab_cdef);
    assert!(packet.read.get() <= claimed, "octets behind the claimed end count");
    let there = &behind_ip[..claimed.min(behind_ip.len())];
    let plain = plainly(first, there);
    assert_eq!(readable.then_some(upper), plain);
}

/// The same, read in two steps: first all headers, and then what they mean together.
fn plainly(first: u8, octets: &[u8]) -> Option<UpperLayer> {
    let (mut kind, mut rest, mut pieces) = (first, octets, Vec::new());
    for nth in 0.. {
        let is_later = |piece: &Fragment| !piece.first;
        if !is_extension_header(kind) || pieces.last().is_some_and(is_later) {
            break;
        }
        let head = rest.first_chunk::<8>().filter(|_| nth < MAX_EXTENSION_HEADERS)?;
        let header = parse_extension_header(kind, *head);
        pieces.extend(header.fragment);
        (kind, rest) = (header.next, rest.get(usize::from(header.len)..).unwrap_or_default());
    }
    let id = pieces.last().map_or([0; 4], |piece| piece.id);
    if pieces.iter().any(|piece| !piece.first) {
        return Some(UpperLayer { id, piece: Piece::Later, ..UpperLayer::default() });
    }
    let whole = pieces.iter().all(|piece| piece.whole);
    let piece = if whole { Piece::Whole } else { Piece::First };
    let mut upper = UpperLayer { protocol: kind, id, piece, ..UpperLayer::default() };
    match kind {
        TCP | UDP => {
            let [a, b, c, d] = *rest.first_chunk::<4>()?;
            upper.ports = [[a, b], [c, d]];
            if kind == TCP {
                upper.flags = Flags(*rest.get(13)?);
            }
        }
        ICMPV6 => upper.kind = *rest.first()?,
        _ => {}
    }
    Some(upper)
}

fn connection(cursor: &mut Cursor<'_>, meetings: u8) {
    let protocol = [TCP, UDP, 50][usize::from(cursor.u8() % 3)];
    let mut now = 1000 * SECOND;
    let mut entry: Option<Connection> = None;
    let mut asked = now;
    for _ in 0..meetings {
        now += u64::from(cursor.u16()) * SECOND / 4;
        let inside = cursor.bool();
        let flags = Flags(cursor.u8());
        if inside {
            asked = now;
            let goes_on = entry.as_mut().is_some_and(|it| it.from_inside(protocol, flags, now));
            if !goes_on {
                entry = Connection::begin(protocol, flags, now);
            }
            continue;
        }
        let Some(entry) = &mut entry else { continue };
        let before = *entry;
        let let_in = entry.answers(protocol, flags, now);
        assert_eq!(entry.last_seen, before.last_seen, "the outside has prolonged it");
        assert!(!let_in || !before.is_over(protocol, now), "its time was over");
        let limit = if protocol == TCP { ESTABLISHED } else { UDP_IDLE };
        assert!(!let_in || now - asked <= limit, "long after the inside spoke");
        let opens = flags.contains(Flags::SYN) && !flags.contains(Flags::ACK);
        if protocol == TCP && opens && !flags.contains(Flags::RST) && let_in {
            assert_ne!(before.stage(protocol), Some(Stage::Established), "a beginning came in");
        }
        if protocol != TCP {
            assert_eq!(let_in, !before.is_over(protocol, now));
        }
    }
}
