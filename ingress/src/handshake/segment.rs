//! A TCP segment without its addresses.

use ingress_common::tcp::{Flags, Seq, SynOptions, Timestamps};

/// A TCP segment as the state machine sees it: ports and addresses are the caller's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub seq: Seq,
    /// Acknowledgment number; means nothing without the flag.
    pub ack: Seq,
    /// Flags.
    pub flags: Flags,
    /// The window field as it stands on the wire, not scaled.
    pub window: u16,
    /// Options of a SYN or SYN-ACK, empty on everything else.
    pub options: SynOptions,
    /// Timestamps, which once negotiated are on every segment.
    pub timestamps: Option<Timestamps>,
    /// The data.
    pub payload: Vec<u8>,
}

impl Segment {
    /// A reset that a peer accepts whose next expected number is `seq`.
    #[must_use]
    pub fn reset(seq: Seq, ack: Option<Seq>) -> Self {
        let flags = if ack.is_some() { Flags::RST.with(Flags::ACK) } else { Flags::RST };
        Self { seq, ack: ack.unwrap_or_default(), flags, ..Self::default() }
    }

    /// The same segment with timestamps, or without.
    #[must_use]
    pub fn stamped(self, timestamps: Option<Timestamps>) -> Self {
        Self { timestamps, ..self }
    }

    /// What a reset of the sender's connection carries, by somebody who knows no more of it than this segment.
    #[must_use]
    pub fn mirrored_timestamps(&self) -> Option<Timestamps> {
        self.timestamps.map(Timestamps::mirrored)
    }

    /// The number right after the data, not counting SYN and FIN.
    #[must_use]
    pub fn end(&self) -> Seq {
        self.seq.plus(self.payload.len() as u32)
    }

    /// The segment in pieces of at most `room` octets of data. PSH, FIN and RST stay with the last one.
    pub(super) fn cut(&self, room: usize) -> impl Iterator<Item = Self> {
        let last = self.payload.len().saturating_sub(1) / room;
        (0..=last).map(move |index| {
            let begin = index * room;
            let end = self.payload.len().min(begin + room);
            Self {
                seq: self.seq.plus(begin as u32),
                flags: if index == last { self.flags } else { Flags::ACK },
                payload: self.payload[begin..end].to_vec(),
                ..*self
            }
        })
    }

    /// Whether every flag of `flags` is set.
    #[must_use]
    pub fn has(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }
}
