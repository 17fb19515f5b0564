//! The client's octets, put in order by sequence number.

use std::collections::BTreeMap;

use ingress_common::tcp::Seq;

use crate::postgres;
use crate::sni;

/// The most octets of a client that are kept: the longest hello behind the longest preamble, rounded up so that no
/// window scale up to 9 pulls back the right edge that the SYN-ACK's 16640 promised (RFC 9293 §3.8.6).
pub(super) const CAPACITY: u32 = 17 * 1024;
/// The most pieces that are kept out of order: a hello of the longest kind has 32 segments at the smallest MSS.
const PIECES: usize = 64;
const _: () = assert!(sni::MAX_STREAM + 2 * postgres::REQUEST_LEN <= CAPACITY as usize);

/// The beginning of a client's stream: segments in, in any order; one contiguous run of octets out.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The number of the first octet, once a segment has proven it.
    base: Option<Seq>,
    /// Segments that came before that proof.
    parked: Vec<Piece>,
    octets: Vec<u8>,
    /// Pieces behind a gap, by offset.
    ahead: BTreeMap<u32, Vec<u8>>,
    /// Octets in `parked` and `ahead`.
    waiting: u32,
    /// The offset of the FIN.
    fin: Option<u32>,
}

#[derive(Debug)]
struct Piece {
    seq: Seq,
    octets: Vec<u8>,
    fin: bool,
}

impl Stream {
    /// Learns where the stream begins.
    pub(super) fn begin(&mut self, base: Seq) {
        if self.base.is_some() {
            return;
        }
        self.base = Some(base);
        self.waiting = 0;
        for piece in std::mem::take(&mut self.parked) {
            self.place(base, piece);
        }
    }

    /// Octets that are kept.
    pub(super) fn held(&self) -> usize {
        self.octets.len() + self.waiting as usize
    }

    /// Takes a segment's data. The first copy of an octet counts.
    pub(super) fn insert(&mut self, seq: Seq, octets: Vec<u8>, fin: bool) {
        if octets.is_empty() && !fin {
            return;
        }
        let piece = Piece { seq, octets, fin };
        match self.base {
            Some(base) => self.place(base, piece),
            None if self.waiting + piece.octets.len() as u32 <= CAPACITY
                && self.parked.len() < PIECES =>
            {
                self.waiting += piece.octets.len() as u32;
                self.parked.push(piece);
            }
            None => {}
        }
    }

    fn place(&mut self, base: Seq, Piece { seq, mut octets, fin }: Piece) {
        let offset = seq.since(base);
        if offset >= CAPACITY as i32 {
            return;
        }
        let end = offset.saturating_add_unsigned(octets.len() as u32);
        if fin && end >= 0 && end <= CAPACITY as i32 {
            self.fin.get_or_insert(end as u32);
        }
        // What lies before the base is a keepalive or nonsense.
        octets.drain(..octets.len().min(offset.min(0).unsigned_abs() as usize));
        let offset = offset.max(0) as u32;
        octets.truncate((CAPACITY - offset) as usize);
        if offset <= self.len() {
            self.append(offset, &octets);
            self.close_gaps();
        } else if self.waiting + octets.len() as u32 <= CAPACITY {
            let known = self.ahead.get(&offset).map_or(0, Vec::len);
            if octets.len() > known && (known > 0 || self.ahead.len() < PIECES) {
                self.waiting += (octets.len() - known) as u32;
                self.ahead.insert(offset, octets);
            }
        }
    }

    fn append(&mut self, offset: u32, octets: &[u8]) {
        let known = (self.len() - offset) as usize;
        self.octets.extend_from_slice(octets.get(known..).unwrap_or_default());
    }

    fn close_gaps(&mut self) {
        while let Some(entry) = self.ahead.first_entry() {
            if *entry.key() > self.octets.len() as u32 {
                break;
            }
            let (offset, octets) = entry.remove_entry();
            self.waiting -= octets.len() as u32;
            self.append(offset, &octets);
        }
    }

    /// The octets without a gap.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// How many they are.
    pub(super) fn len(&self) -> u32 {
        self.octets.len() as u32
    }

    /// The number of the first octet; before it is proven, the lowest seen.
    pub(super) fn base(&self) -> Seq {
        self.base.or_else(|| self.parked.first().map(|piece| piece.seq)).unwrap_or_default()
    }

    /// Whether the beginning is proven.
    pub(super) fn begun(&self) -> bool {
        self.base.is_some()
    }

    /// Whether something lies behind a gap.
    pub(super) fn gapped(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether the client has closed, and everything before that is here.
    pub(super) fn finished(&self) -> bool {
        self.fin == Some(self.len())
    }

    /// What an acknowledgment of everything contiguous covers, FIN included.
    pub(super) fn covered(&self) -> u32 {
        self.len() + u32::from(self.finished())
    }

    /// The offset after the furthest octet seen.
    pub(super) fn furthest(&self) -> u32 {
        let ahead = self.ahead.iter().map(|(offset, octets)| offset + octets.len() as u32).max();
        self.covered().max(ahead.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any order, overlaps and duplicates, around any sequence number, give the stream back.
        #[test]
        fn reassembles(
            base: u32,
            length in 1..4000usize,
            pieces in proptest::collection::vec((0..4000usize, 1..1500usize), 0..20),
            proven in 0..25usize,
        ) {
            let base = Seq(base);
            let octets: Vec<u8> = (0..length).map(|at| (at * 7 + at / 256) as u8).collect();
            let mut stream = Stream::default();
            let cover = (0..length).step_by(500).map(|at| (at, 500)).rev();
            for (index, (from, size)) in pieces.into_iter().chain(cover).enumerate() {
                if index == proven {
                    stream.begin(base);
                }
                let from = from % length;
                let to = (from + size).min(length);
                stream.insert(base.plus(from as u32), octets[from..to].to_vec(), to == length);
                prop_assert!(octets.starts_with(stream.octets()));
            }
            // What exceeded the room is the client's to send again.
            stream.begin(base);
            for at in (0..length).step_by(500) {
                let to = (at + 500).min(length);
                stream.insert(base.plus(at as u32), octets[at..to].to_vec(), to == length);
            }
            prop_assert_eq!(stream.octets(), &octets[..]);
            prop_assert!(stream.finished());
            prop_assert_eq!(stream.waiting, 0);
        }

        #[test]
        fn is_bounded(pieces in proptest::collection::vec((any::<u16>(), 0..1500usize), 0..200), begun: bool) {
            let mut stream = Stream::default();
            if begun {
                stream.begin(Seq(5));
            }
            for (at, size) in pieces {
                stream.insert(Seq(u32::from(at)), vec![0; size], false);
                prop_assert!(stream.waiting <= CAPACITY);
                prop_assert!(stream.len() <= CAPACITY);
            }
        }
    }

    /// Each costs far more than its octets.
    #[test]
    fn so_are_its_pieces() {
        for begun in [false, true] {
            let mut stream = Stream::default();
            if begun {
                stream.begin(Seq(0));
            }
            for at in (1..CAPACITY).step_by(2) {
                stream.insert(Seq(at), vec![0], false);
            }
            assert!(stream.ahead.len() + stream.parked.len() <= PIECES, "{begun}");
            // A client that sends everything again, in order, is understood all the same.
            stream.begin(Seq(0));
            (0..100).for_each(|at| stream.insert(Seq(at), vec![0], false));
            assert!(stream.len() >= 100);
        }
    }

    #[test]
    fn keepalives_and_far_segments_change_nothing() {
        let mut stream = Stream::default();
        stream.begin(Seq(0));
        stream.insert(Seq(u32::MAX), vec![9], false);
        stream.insert(Seq(CAPACITY), vec![9], false);
        stream.insert(Seq(0x8000_0000), vec![9], true);
        assert_eq!((stream.len(), stream.gapped(), stream.finished()), (0, false, false));
    }
}
