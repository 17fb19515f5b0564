//! Timestamps at one end of a simulated connection (RFC 7323), kept to the letter: a segment without them is
//! dropped, so is an old one (PAWS), and an echo must be something that this end has said.

use std::collections::BTreeSet;

use ingress::handshake::Segment;
use ingress_common::tcp::{Flags, Seq, Timestamps};

use crate::tcp::Micros;

#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Whether this end wants timestamps.
    pub wanted: bool,
    /// Whether both ends do.
    pub agreed: bool,
    /// What it reads when the simulation begins.
    pub offset: u32,
    pub now: Micros,
    recent: u32,
    last_ack_sent: Seq,
    said: BTreeSet<u32>,
}

impl Clock {
    fn reading(&self) -> u32 {
        self.offset.wrapping_add((self.now / 1000) as u32)
    }

    /// Says the time, as in a SYN.
    pub fn say(&mut self) -> u32 {
        let reading = self.reading();
        self.said.insert(reading);
        reading
    }

    /// The other end's SYN or SYN-ACK says so.
    pub fn agree(&mut self, heard: Option<u32>) {
        self.agreed = self.wanted && heard.is_some();
        self.recent = heard.unwrap_or(0);
    }

    /// Stamps segments that are about to be sent.
    pub fn stamp(&mut self, segments: &mut [Segment]) {
        for segment in segments.iter_mut().filter(|segment| segment.timestamps.is_none()) {
            if self.agreed {
                segment.timestamps = Some(Timestamps { value: self.say(), echo: self.recent });
                self.last_ack_sent = segment.ack;
            }
        }
    }

    /// Whether a segment may be looked at any further.
    pub fn admits(&self, segment: &Segment) -> bool {
        let Some(stamps) = segment.timestamps else { return !self.agreed };
        !(self.agreed && Timestamps::is_later(self.recent, stamps.value))
    }

    /// Takes note of a segment that belongs to the connection without doubt.
    pub fn hear(&mut self, segment: &Segment) {
        let (true, Some(stamps)) = (self.agreed, segment.timestamps) else { return };
        assert!(
            !segment.has(Flags::ACK) || self.said.contains(&stamps.echo),
            "{} was never said: {segment:?}",
            stamps.echo
        );
        if !self.last_ack_sent.before(segment.seq)
            && Timestamps::is_later(stamps.value, self.recent)
        {
            self.recent = stamps.value;
        }
    }
}
