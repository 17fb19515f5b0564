//! How an end comes up that listens: the SYN, what it agrees on, and the ACK after it.

use ingress::handshake::Segment;
use ingress_common::tcp::Flags;

use super::{FIRST_RTO, Micros, State, Tcp};

impl Tcp {
    pub(super) fn on_listen(&mut self, segment: &Segment, now: Micros, out: &mut Vec<Segment>) {
        if segment.has(Flags::RST) {
            return;
        }
        if !segment.has(Flags::SYN) {
            out.push(Segment::reset(segment.ack, None));
            return;
        }
        self.irs = segment.seq;
        self.state = State::SynReceived;
        let theirs = segment.options;
        self.options.window_scale = theirs.window_scale.and(self.options.window_scale);
        self.options.sack_permitted &= theirs.sack_permitted;
        self.scales = self.options.window_scale.zip(theirs.window_scale);
        self.mss = self.options.mss.unwrap_or(1220).min(theirs.mss.unwrap_or(1220)).into();
        self.cwnd = 10 * self.mss;
        self.edge = segment.window.into();
        self.timer = Some(now + FIRST_RTO);
        self.agree(segment.timestamps.map(|stamps| stamps.value));
        out.push(self.syn_ack());
    }

    pub(super) fn on_syn_received(
        &mut self,
        segment: Segment,
        now: Micros,
        out: &mut Vec<Segment>,
    ) {
        if segment.has(Flags::RST) {
            if segment.seq == self.rcv_next() {
                self.state = State::Reset;
            }
        } else if segment.has(Flags::SYN) {
            if segment.seq == self.irs {
                out.push(self.syn_ack());
            } else {
                self.acknowledge(out);
            }
        } else if segment.has(Flags::ACK) {
            if !self.clock.admits(&segment) {
                self.acknowledge(out);
            } else if segment.ack == self.iss.plus(1) {
                self.state = State::Established;
                self.timer = None;
                self.on_established(segment, now, out);
            } else {
                out.push(Segment::reset(segment.ack, None));
            }
        }
    }

    pub(super) fn syn_ack(&self) -> Segment {
        let window = self.receive_window.min(65535) as u16;
        let flags = Flags::SYN.with(Flags::ACK);
        let (seq, ack) = (self.iss, self.irs.plus(1));
        Segment { seq, ack, flags, window, options: self.options, ..Segment::default() }
    }
}
