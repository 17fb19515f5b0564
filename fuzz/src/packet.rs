//! Packets that the programs hand up: what is read can be built, and is read the same then.

use ingress::wire::{build_v4, build_v6, read_v4, read_v6};

use crate::cursor::Cursor;

/// How much longer the packet was than what was captured, then the capture.
pub fn run(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let beyond = usize::from(cursor.u8() & 3) * 500;
    let packet = cursor.rest();
    if let Some(read) = read_v4(packet, packet.len() + beyond) {
        let built = build_v4(read.source, read.destination, &read.segment);
        assert_eq!(read_v4(&built, built.len()), Some(read));
    }
    if let Some(read) = read_v6(packet, packet.len() + beyond) {
        let built = build_v6(read.source, read.destination, &read.segment);
        assert_eq!(read_v6(&built, built.len()), Some(read));
    }
}
