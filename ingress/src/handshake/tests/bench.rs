//! A machine with one client and one backend in hand, which say what a test has them say, and what to read from actions.

use ingress_common::tcp::{Flags, Seq, SynOptions, Timestamps};

use crate::handshake::*;

pub(super) const COOKIE: Seq = Seq(0xffff_fffe);
pub(super) const ISN: Seq = Seq(0x7fff_fff0);
pub(super) const BACKEND_ISN: Seq = Seq(500);
pub(super) const ACK: Flags = Flags::ACK;

pub(super) fn tuple() -> ClientTuple {
    ClientTuple {
        client: "198.51.100.7:40000".parse().unwrap(),
        listen: "203.0.113.1:443".parse().unwrap(),
    }
}

pub(super) fn backend(last: u16) -> Backend {
    Backend {
        address: format!("[2001:db8::{last:x}]:443").parse().unwrap(),
        source: "64:ff9b:1::c633:6407".parse().unwrap(),
        site: 0,
        mss_limit: 1360,
    }
}

pub(in crate::handshake) fn hello(size: usize) -> Vec<u8> {
    let mut extensions = b"\0\0\0\x0e\0\x0c\0\0\x09a.example".to_vec();
    extensions.extend([0, 51]);
    extensions.extend((size as u16).to_be_bytes());
    extensions.extend(vec![1; size]);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]], &body[..]].concat();
    [&[22, 3, 1], &(message.len() as u16).to_be_bytes()[..], &message].concat()
}

pub(super) struct Bench {
    pub(super) machine: Handshakes,
    pub(super) cookie: Seq,
    pub(super) now: Instant,
    pub(super) protocol: Protocol,
    pub(super) default_host: Option<HostName>,
    /// Whether acknowledgments of more than the cookie happen to be valid cookies themselves.
    pub(super) ambiguous: bool,
    /// What segments of the client carry.
    pub(super) client_stamps: Option<Timestamps>,
    /// What segments of the backend carry.
    pub(super) backend_stamps: Option<Timestamps>,
}

impl Bench {
    pub(super) fn new(protocol: Protocol) -> Self {
        let machine = Handshakes::new(Limits::default());
        Self {
            machine,
            cookie: COOKIE,
            now: Instant::now(),
            protocol,
            default_host: None,
            ambiguous: false,
            client_stamps: None,
            backend_stamps: None,
        }
    }

    pub(super) fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        self.machine.handle(self.now, event, &mut out);
        out
    }

    /// A segment from the client, at an offset of its stream, acknowledging `acked` octets after our SYN-ACK.
    pub(super) fn client(
        &mut self,
        offset: u32,
        acked: u32,
        flags: Flags,
        payload: &[u8],
    ) -> Vec<Action> {
        let segment = Segment {
            seq: ISN.plus(1 + offset),
            ack: self.cookie.plus(1 + acked),
            flags,
            window: 1000,
            timestamps: self.client_stamps,
            payload: payload.to_vec(),
            ..Segment::default()
        };
        let admission = (acked == 0 || self.ambiguous).then(|| Admission {
            cookie: self.cookie.plus(acked),
            client_isn: (acked == 0 && offset == 0).then_some(ISN),
            options: SynOptions { mss: Some(1460), window_scale: Some(8), sack_permitted: true },
            promised_scale: Some(7),
            protocol: self.protocol,
            default_host: self.default_host.clone(),
        });
        self.handle(Event::Client { tuple: tuple(), segment, admission })
    }

    pub(super) fn server(
        &mut self,
        flags: Flags,
        seq: Seq,
        ack: Seq,
        payload: &[u8],
    ) -> Vec<Action> {
        let segment = Segment { seq, ack, flags, payload: payload.to_vec(), ..Segment::default() }
            .stamped(self.backend_stamps);
        self.handle(Event::Backend { tuple: tuple(), from: backend(1).address, segment })
    }

    pub(super) fn syn_ack(&mut self, window_scale: Option<u8>) -> Vec<Action> {
        let options = SynOptions { mss: Some(1220), window_scale, sack_permitted: false };
        let (flags, ack) = (Flags::SYN.with(ACK), ISN.plus(1));
        let segment = Segment { seq: BACKEND_ISN, ack, flags, options, ..Segment::default() }
            .stamped(self.backend_stamps);
        self.handle(Event::Backend { tuple: tuple(), from: backend(1).address, segment })
    }

    pub(super) fn resolve(&mut self, result: Result<Vec<Backend>, ResolveError>) -> Vec<Action> {
        let host = "a.example".parse().unwrap();
        self.handle(Event::Resolved { tuple: tuple(), host, result })
    }

    pub(super) fn pass(&mut self, milliseconds: u64) -> Vec<Action> {
        let until = self.now + Duration::from_millis(milliseconds);
        let mut out = Vec::new();
        while let Some(at) = self.machine.next_timeout().filter(|&at| at <= until) {
            self.now = at;
            self.machine.handle_timeout(at, &mut out);
        }
        self.now = until;
        out
    }
}

pub(super) fn to_client(actions: &[Action]) -> Vec<&Segment> {
    let mut segments = Vec::new();
    for action in actions {
        if let Action::ToClient { segment, .. } = action {
            segments.push(segment);
        }
    }
    segments
}

pub(super) fn to_backend(actions: &[Action]) -> Vec<&Segment> {
    let mut segments = Vec::new();
    for action in actions {
        if let Action::ToBackend { segment, .. } = action {
            segments.push(segment);
        }
    }
    segments
}

pub(super) fn outcome(actions: &[Action]) -> Option<Outcome> {
    actions.iter().find_map(|action| {
        if let Action::Finish { outcome, .. } = action { Some(*outcome) } else { None }
    })
}

pub(super) fn splice(actions: &[Action]) -> Option<&Splice> {
    actions.iter().find_map(|action| {
        if let Action::Install { splice, .. } = action { Some(&**splice) } else { None }
    })
}
