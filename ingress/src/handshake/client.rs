//! The client's half: what it has sent, and what we, in the backend's place, have told it.

use ingress_common::{
    splice::rescale,
    tcp::{Flags, Seq, SynOptions, Timestamps},
};

use super::stream::{CAPACITY, Stream};
use super::{Action, Admission, ClientTuple, Owed, Segment};
use crate::postgres::{REQUEST_LEN, Request};

/// Where the sequence number of an RST lies (RFC 5961 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// Where the next octet would be.
    Exact,
    /// Elsewhere in the window: it is answered with a challenge acknowledgment.
    InWindow,
    Outside,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) tuple: ClientTuple,
    pub(super) cookie: Seq,
    pub(super) stream: Stream,
    /// The client's window field, as it last came.
    pub(super) window: u16,
    /// PostgreSQL requests that we answered in the backend's place; it must give the same answers.
    pub(super) requests: Vec<Request>,
    /// What our segments to it carry: the one time that it was shown, and the latest of its own clock.
    pub(super) timestamps: Option<Timestamps>,
    options: SynOptions,
    promised_scale: Option<u8>,
    /// Octets that we sent after our SYN-ACK.
    sent: u32,
    /// Octets of the client that we acknowledged: it will not send them again.
    acknowledged: u32,
}

impl Client {
    pub(super) fn new(tuple: ClientTuple, admission: &Admission) -> Self {
        Self {
            tuple,
            cookie: admission.cookie,
            stream: Stream::default(),
            window: 0,
            requests: Vec::new(),
            timestamps: None,
            options: admission.options,
            promised_scale: admission.promised_scale,
            sent: 0,
            acknowledged: 0,
        }
    }

    /// Reads the clock in a segment that [`Self::accepts_ack`]. No cookie says whether timestamps were promised:
    /// if so, every segment has them, and the first echoes what our SYN-ACK showed.
    pub(super) fn hear(&mut self, segment: &Segment) {
        let Some(heard) = segment.timestamps else { return };
        let known = self.timestamps.get_or_insert(heard.mirrored());
        if Timestamps::is_later(heard.value, known.echo) {
            known.echo = heard.value;
        }
    }

    /// The number of the next octet that we would send.
    pub(super) fn next(&self) -> Seq {
        self.cookie.plus(1 + self.sent)
    }

    pub(super) fn isn(&self) -> Seq {
        self.stream.base().minus(1)
    }

    pub(super) fn acknowledged(&self) -> u32 {
        self.acknowledged
    }

    /// Octets that a backend must get from us, in its stream after the PostgreSQL preamble. A FIN that was acknowledged
    /// with them is the client's to repeat.
    pub(super) fn owed(&self) -> usize {
        let acknowledged = self.acknowledged.min(self.stream.len()) as usize;
        acknowledged.saturating_sub(self.preamble())
    }

    pub(super) fn promised_scale(&self) -> Option<u8> {
        self.promised_scale
    }

    /// The options for a SYN in the client's name: nothing that the client doesn't do, nothing that it wasn't promised.
    pub(super) fn options(&self, mss_limit: u16) -> SynOptions {
        let mss = self.options.mss.unwrap_or(ingress_common::tcp::DEFAULT_MSS);
        SynOptions {
            mss: Some(mss.min(mss_limit)),
            window_scale: self.promised_scale.and(self.options.window_scale),
            sack_permitted: self.options.sack_permitted,
        }
    }

    /// The client's window in a field that is not scaled.
    pub(super) fn unscaled_window(&self) -> u16 {
        rescale(self.window, self.options(u16::MAX).window_scale.unwrap_or(0), 0)
    }

    /// The octets of the PostgreSQL preamble.
    pub(super) fn preamble(&self) -> usize {
        self.requests.len() * REQUEST_LEN
    }

    /// Whether the segment acknowledges nothing that we did not send, and our SYN-ACK at least.
    pub(super) fn accepts_ack(&self, segment: &Segment) -> bool {
        segment.has(Flags::ACK)
            && (0..=self.sent as i32).contains(&segment.ack.since(self.cookie.plus(1)))
    }

    pub(super) fn judge_reset(&self, seq: Seq) -> Reset {
        let offset = seq.since(self.stream.base());
        let exact = [self.acknowledged, self.stream.covered(), self.stream.furthest()];
        if exact.iter().any(|&at| at as i32 == offset) {
            Reset::Exact
        } else if (0..=CAPACITY as i32).contains(&offset) {
            Reset::InWindow
        } else {
            Reset::Outside
        }
    }

    /// Whether the client repeats what we acknowledged: a keepalive, or our acknowledgment was lost.
    pub(super) fn repeats(&self, segment: &Segment) -> bool {
        let acknowledged = self.stream.base().plus(self.acknowledged);
        segment.seq.before(acknowledged) && !acknowledged.before(segment.end())
    }

    /// Acknowledges everything contiguous. The octets are ours to deliver from now on.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<Action>) {
        self.take(out);
        self.repeat_acknowledgment(out);
    }

    pub(super) fn repeat_acknowledgment(&self, out: &mut Vec<Action>) {
        out.push(self.segment(self.next(), Flags::ACK, Vec::new()));
    }

    /// Sends octets, acknowledging everything contiguous.
    pub(super) fn say(&mut self, octets: Vec<u8>, flags: Flags, out: &mut Vec<Action>) {
        self.take(out);
        let seq = self.next();
        self.sent += octets.len() as u32 + u32::from(flags.contains(Flags::FIN));
        out.push(self.segment(seq, flags.with(Flags::ACK), octets));
    }

    /// Sends the last of what [`Self::say`] sent again.
    pub(super) fn say_again(&mut self, octets: Vec<u8>, flags: Flags, out: &mut Vec<Action>) {
        self.take(out);
        let length = octets.len() as u32 + u32::from(flags.contains(Flags::FIN));
        out.push(self.segment(self.next().minus(length), flags.with(Flags::ACK), octets));
    }

    /// Everything contiguous becomes ours to deliver.
    fn take(&mut self, out: &mut Vec<Action>) {
        let covered = self.stream.covered();
        if covered == self.acknowledged {
            return;
        }
        self.acknowledged = covered;
        self.owe(out);
    }

    /// Puts down what was acknowledged.
    pub(super) fn owe(&self, out: &mut Vec<Action>) {
        let len = self.acknowledged.min(self.stream.len()) as usize;
        let owed = Owed {
            cookie: self.cookie,
            client_isn: self.isn(),
            window: self.window,
            timestamps: self.timestamps.map(Timestamps::mirrored),
            octets: self.stream.octets()[..len].to_vec(),
        };
        out.push(Action::Owe { tuple: self.tuple, owed });
    }

    /// Resets the connection, with exactly the number that the client expects.
    pub(super) fn reset(&self, out: &mut Vec<Action>) {
        let ack = self.stream.base().plus(self.stream.covered());
        let segment = Segment::reset(self.next(), Some(ack)).stamped(self.timestamps);
        out.push(Action::ToClient { tuple: self.tuple, segment });
    }

    fn segment(&self, seq: Seq, flags: Flags, payload: Vec<u8>) -> Action {
        let room = CAPACITY.saturating_sub(self.acknowledged) >> self.promised_scale.unwrap_or(0);
        let segment = Segment {
            seq,
            ack: self.stream.base().plus(self.acknowledged),
            flags,
            window: room.min(u16::MAX.into()) as u16,
            options: SynOptions::default(),
            timestamps: self.timestamps,
            payload,
        };
        Action::ToClient { tuple: self.tuple, segment }
    }
}
