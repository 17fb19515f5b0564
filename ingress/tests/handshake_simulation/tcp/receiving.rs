//! What an established end makes of a segment: whether it is acceptable, what it acknowledges, what it brings.

use ingress::handshake::Segment;
use ingress_common::tcp::Flags;

use super::{FIRST_RTO, Micros, State, Tcp};

impl Tcp {
    pub(super) fn on_established(&mut self, segment: Segment, now: Micros, out: &mut Vec<Segment>) {
        let offset = segment.seq.since(self.irs.plus(1));
        let expected = self.rcv_next().since(self.irs.plus(1));
        let window = expected..expected + self.receive_window as i32;
        if segment.has(Flags::RST) {
            if offset == expected {
                self.state = State::Reset;
                self.timer = None;
            } else if window.contains(&offset) {
                self.acknowledge(out);
            }
            return;
        }
        if !self.clock.admits(&segment) {
            self.acknowledge(out);
            return;
        }
        let end = offset + segment.payload.len() as i32 + i32::from(segment.has(Flags::FIN));
        // Linux takes a segment that lies wholly outside the window for no news, not even for its ACK.
        if segment.has(Flags::SYN) || (end < expected || offset > window.end) {
            self.acknowledge(out);
            return;
        }
        let acked = segment.ack.since(self.iss.plus(1));
        if acked > self.highest as i32 {
            self.acknowledge(out);
            return;
        }
        if acked >= 0 {
            self.clock.hear(&segment);
        }
        self.on_ack(acked, &segment, now, out);
        if !segment.payload.is_empty() || segment.has(Flags::FIN) {
            self.take(offset, &segment);
            self.acknowledge(out);
        }
        self.send(now, out);
    }

    fn on_ack(&mut self, acked: i32, segment: &Segment, now: Micros, out: &mut Vec<Segment>) {
        if acked < self.una as i32 {
            return;
        }
        let scale = self.scales.map_or(0, |(_, theirs)| theirs);
        let edge = acked as u32 + (u32::from(segment.window) << scale);
        let news = edge != self.edge;
        self.edge = edge;
        if acked as u32 > self.una {
            self.una = acked as u32;
            self.next = self.next.max(self.una);
            self.rto = FIRST_RTO;
            self.repeated_acks = 0;
            self.cwnd += self.mss;
            self.timer = (self.una < self.highest).then_some(now + self.rto);
        } else if segment.payload.is_empty() && !news && self.una < self.highest {
            self.repeated_acks += 1;
            if self.repeated_acks == 3 {
                self.send_one(self.una, out);
            }
        }
    }

    fn take(&mut self, offset: i32, segment: &Segment) {
        if segment.has(Flags::FIN) && offset >= 0 {
            self.peer_fin.get_or_insert((offset as usize + segment.payload.len()) as u32);
        }
        let skipped = usize::try_from(-offset).unwrap_or(0).min(segment.payload.len());
        self.ahead.entry(offset.max(0) as u32).or_default();
        let slot = self.ahead.entry(offset.max(0) as u32).or_default();
        if segment.payload.len() - skipped > slot.len() {
            *slot = segment.payload[skipped..].to_vec();
        }
        while let Some(entry) = self.ahead.first_entry() {
            if *entry.key() > self.received.len() as u32 {
                break;
            }
            let (offset, octets) = entry.remove_entry();
            let known = self.received.len() - offset as usize;
            // Whatever was repeated must be what was said before.
            let overlap = known.min(octets.len());
            assert_eq!(
                self.received[offset as usize..][..overlap],
                octets[..overlap],
                "octets changed"
            );
            self.received.extend_from_slice(&octets[overlap..]);
        }
    }
}
