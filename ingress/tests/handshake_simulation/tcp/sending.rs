//! What an established end sends: as much as windows and Nagle let it, and again what nobody acknowledges.

use ingress::handshake::Segment;
use ingress_common::tcp::Flags;

use super::{Micros, State, Tcp};

const LAST_RTO: Micros = 4_000_000;

impl Tcp {
    pub fn send(&mut self, now: Micros, out: &mut Vec<Segment>) {
        let before = out.len();
        self.clock.now = now;
        self.send_what_fits(now, out);
        self.clock.stamp(&mut out[before..]);
    }

    fn send_what_fits(&mut self, now: Micros, out: &mut Vec<Segment>) {
        if self.state != State::Established {
            return;
        }
        while self.next < self.length() {
            let flight = self.next - self.una;
            let data = (self.written.len() as u32).saturating_sub(self.next).min(self.mss);
            if flight + data > self.cwnd.max(self.mss) || self.next + data > self.edge {
                break;
            }
            if self.nagle && data < self.mss && flight > 0 && !self.closed {
                break;
            }
            self.next += self.send_one(self.next, out);
        }
        if self.timer.is_none() && (self.una < self.highest || self.una < self.length()) {
            self.timer = Some(now + self.rto);
        }
    }

    pub(super) fn send_one(&mut self, offset: u32, out: &mut Vec<Segment>) -> u32 {
        let from = offset as usize;
        let to = (from + self.mss as usize).min(self.written.len());
        let payload = self.written.get(from..to).unwrap_or_default().to_vec();
        let fin = self.closed && to.max(from) == self.written.len();
        let flags = if fin { Flags::ACK.with(Flags::FIN) } else { Flags::ACK };
        let length = payload.len() as u32 + u32::from(fin);
        self.highest = self.highest.max(offset + length);
        out.push(self.segment(offset, flags, payload));
        length
    }

    pub fn on_timer(&mut self, now: Micros, out: &mut Vec<Segment>) {
        let before = out.len();
        self.clock.now = now;
        self.repeat(now, out);
        self.clock.stamp(&mut out[before..]);
    }

    fn repeat(&mut self, now: Micros, out: &mut Vec<Segment>) {
        if self.timer.is_none_or(|at| at > now) {
            return;
        }
        self.timer = None;
        self.rto = (self.rto * 2).min(LAST_RTO);
        match self.state {
            State::SynReceived => out.push(self.syn_ack()),
            State::Established if self.una < self.length() => {
                self.cwnd = (self.cwnd / 2).max(2 * self.mss);
                self.next = self.una;
                self.next += self.send_one(self.una, out);
            }
            State::Established | State::Listen | State::Reset => return,
        }
        self.timer = Some(now + self.rto);
    }
}
