//! A small TCP that retransmits, reorders and keeps to windows: enough of one to be a client or a server.

mod opening;
mod receiving;
mod sending;

use std::collections::BTreeMap;

use ingress::handshake::Segment;
use ingress_common::tcp::{Flags, Seq, SynOptions, Timestamps};

use crate::clock::Clock;

/// Microseconds since the simulation began.
pub type Micros = u64;

const FIRST_RTO: Micros = 250_000;

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
            State::SynReceived => self.on_syn_received(segment, now, out),
            State::Established => self.on_established(segment, now, out),
        }
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
}
