//! A small TCP that retransmits, reorders and keeps to windows: enough of one to be a client or a server.

use std::collections::BTreeMap;

use ingress::handshake::Segment;
use ingress_common::tcp::{Flags, Seq, SynOptions, Timestamps};

use crate::clock::Clock;

/// Microseconds since the simulation began.
pub type Micros = u64;

const FIRST_RTO: Micros = 250_000;
const LAST_RTO: Micros = 4_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Listen,
    SynReceived,
    Established,
    Reset,
}

/// One end of a connection. Offsets count from the octet after the SYN.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub state: State,
    pub iss: Seq,
    pub irs: Seq,
    pub received: Vec<u8>,
    pub nagle: bool,
    pub options: SynOptions,
    pub receive_window: u32,
    /// Both scales, where both ends agreed.
    pub scales: Option<(u8, u8)>,
    pub mss: u32,
    /// The offset that the peer lets us send up to.
    pub edge: u32,
    pub cwnd: u32,
    pub clock: Clock,
    written: Vec<u8>,
    closed: bool,
    una: u32,
    next: u32,
    highest: u32,
    ahead: BTreeMap<u32, Vec<u8>>,
    peer_fin: Option<u32>,
    repeated_acks: u32,
    rto: Micros,
    pub timer: Option<Micros>,
}

impl Tcp {
    pub fn new(state: State, iss: Seq, irs: Seq, options: SynOptions, receive_window: u32) -> Self {
        Self {
            state,
            iss,
            irs,
            received: Vec::new(),
            nagle: false,
            options,
            receive_window,
            scales: None,
            mss: 536,
            edge: 0,
            cwnd: 5360,
            clock: Clock::default(),
            written: Vec::new(),
            closed: false,
            una: 0,
            next: 0,
            highest: 0,
            ahead: BTreeMap::new(),
            peer_fin: None,
            repeated_acks: 0,
            rto: FIRST_RTO,
            timer: None,
        }
    }

    pub fn write(&mut self, octets: &[u8]) {
        assert!(!self.closed);
        self.written.extend_from_slice(octets);
    }

    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn peer_closed(&self) -> bool {
        self.peer_fin == Some(self.received.len() as u32)
    }

    pub fn all_acked(&self) -> bool {
        self.una == self.length()
    }

    /// Takes over what both ends agreed on about timestamps.
    pub fn agree(&mut self, heard: Option<u32>) {
        self.clock.agree(heard);
        if self.clock.agreed {
            self.mss -= Timestamps::LEN as u32;
        }
    }

    pub fn abort(&mut self, out: &mut Vec<Segment>) {
        out.push(Segment::reset(self.at(self.highest), Some(self.rcv_next())));
        self.clock.stamp(out);
        self.state = State::Reset;
        self.timer = None;
    }

    fn length(&self) -> u32 {
        self.written.len() as u32 + u32::from(self.closed)
    }

    fn at(&self, offset: u32) -> Seq {
        self.iss.plus(1 + offset)
    }

    pub fn rcv_next(&self) -> Seq {
        self.irs.plus(1 + self.received.len() as u32 + u32::from(self.peer_closed()))
    }

    fn segment(&self, offset: u32, flags: Flags, payload: Vec<u8>) -> Segment {
        let scale = self.scales.map_or(0, |(own, _)| own);
        let window = (self.receive_window >> scale).min(65535) as u16;
        let (seq, ack) = (self.at(offset), self.rcv_next());
        Segment { seq, ack, flags, window, payload, ..Segment::default() }
    }

    fn acknowledge(&self, out: &mut Vec<Segment>) {
        out.push(self.segment(self.next, Flags::ACK, Vec::new()));
    }

    fn syn_ack(&self) -> Segment {
        let window = self.receive_window.min(65535) as u16;
        let flags = Flags::SYN.with(Flags::ACK);
        let (seq, ack) = (self.iss, self.irs.plus(1));
        Segment { seq, ack, flags, window, options: self.options, ..Segment::default() }
    }

    pub fn on_segment(&mut self, segment: Segment, now: Micros, out: &mut Vec<Segment>) {
        let before = out.len();
        self.clock.now = now;
        self.take_in(segment, now, out);
        if self.state != State::Reset {
            self.clock.stamp(&mut out[before..]);
        }
    }

    fn take_in(&mut self, segment: Segment, now: Micros, out: &mut Vec<Segment>) {
        match self.state {
            State::Listen => self.on_listen(&segment, now, out),
            State::Reset => {
                if !segment.has(Flags::RST) && segment.has(Flags::ACK) {
                    out.push(Segment::reset(segment.ack, None));
                }
            }
            State::SynReceived => {
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
            State::Established => self.on_established(segment, now, out),
        }
    }

    fn on_listen(&mut self, segment: &Segment, now: Micros, out: &mut Vec<Segment>) {
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

    fn on_established(&mut self, segment: Segment, now: Micros, out: &mut Vec<Segment>) {
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

    fn send_one(&mut self, offset: u32, out: &mut Vec<Segment>) -> u32 {
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
