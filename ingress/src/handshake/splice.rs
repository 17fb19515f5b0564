//! The splice itself: what turns the segments of one end into those of the other, and segments that are passed on by hand.

use ingress_common::splice::rescale;
use ingress_common::tcp::{Flags, Seq, Timestamps};

use super::backend::Peer;
use super::client::Client;
use super::{Action, Backend, ClientTuple, HostName, Segment, Sender};

const CLOSING: Flags = Flags::FIN.with(Flags::RST);

/// Two halves of a connection, ready to become one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The server.
    pub backend: Backend,
    /// The name that the client asked for, or the default.
    pub host: HostName,
    /// The client's initial sequence number, which the backend knows too.
    pub client_isn: Seq,
    /// The initial sequence number that the client knows.
    pub cookie: Seq,
    /// The initial sequence number that the backend chose.
    pub backend_isn: Seq,
    /// The window scale that the client was promised; `None`: no scaling on the client's side.
    pub promised_scale: Option<u8>,
    /// The scale of the client's windows, where scaling is on.
    pub client_scale: Option<u8>,
    /// The scale of the backend's windows; `None`: it refused scaling.
    pub backend_scale: Option<u8>,
    /// The MSS that the backend announced.
    pub announced: u16,
    /// The largest segment that both ends and the tunnel take, in octets of options and data.
    pub mss: u16,
    /// Where both ends have timestamps: what to add to the backend's for the client, which was shown another
    /// clock in our SYN-ACK.
    pub ts_delta: Option<u32>,
    /// Report the first backend acknowledgment that covers this number.
    pub watch: Option<Seq>,
}

impl Splice {
    /// How far beyond the watched number an acknowledgment is believed, in octets.
    pub const WATCH_RANGE: u32 = ingress_common::maps::WATCH_RANGE;

    pub(super) fn new(client: &Client, peer: &Peer, host: HostName) -> Self {
        let shown = client.timestamps.zip(peer.clock);
        let owed = client.owed();
        let begin = client.stream.base().plus(client.preamble() as u32);
        Self {
            backend: peer.backend,
            host,
            client_isn: client.isn(),
            cookie: client.cookie,
            backend_isn: peer.isn,
            promised_scale: client.promised_scale(),
            client_scale: client.options(peer.backend.mss_limit).window_scale,
            backend_scale: peer.window_scale,
            announced: peer.announced,
            mss: peer.mss,
            ts_delta: shown.map(|(ours, theirs)| ours.value.wrapping_sub(theirs.first)),
            watch: (owed > 0).then(|| begin.plus(owed as u32)),
        }
    }

    /// What to add to the backend's sequence numbers for the client.
    #[must_use]
    pub fn delta(&self) -> u32 {
        self.cookie.0.wrapping_sub(self.backend_isn.0)
    }

    /// How far the client's windows are expanded for the backend, in bits: a backend that refused scaling takes them at
    /// their word.
    #[must_use]
    pub fn expand(&self) -> u8 {
        match (self.backend_scale, self.client_scale) {
            (None, Some(scale)) => scale,
            (Some(_), _) | (None, None) => 0,
        }
    }

    pub(super) fn window_to_backend(&self, window: u16) -> u16 {
        rescale(window, self.expand(), 0)
    }

    pub(super) fn stamps_to_backend(&self, stamps: Timestamps) -> Timestamps {
        Timestamps { echo: stamps.echo.wrapping_sub(self.ts_delta.unwrap_or(0)), ..stamps }
    }

    pub(super) fn stamps_to_client(&self, stamps: Timestamps) -> Timestamps {
        Timestamps { value: stamps.value.wrapping_add(self.ts_delta.unwrap_or(0)), ..stamps }
    }

    /// Cuts a segment with any amount of data to what both ends and the tunnel take.
    fn cut(&self, segment: &Segment) -> impl Iterator<Item = Segment> {
        let options = segment.timestamps.map_or(0, |_| Timestamps::LEN);
        segment.cut(usize::from(self.mss) - options)
    }

    pub(super) fn send_to_backend(
        &self,
        tuple: ClientTuple,
        segment: &Segment,
        out: &mut Vec<Action>,
    ) {
        let backend = self.backend;
        let pieces = self.cut(segment);
        out.extend(pieces.map(|segment| Action::ToBackend { tuple, backend, segment }));
    }

    /// Passes on a client's segment that was handed up before the flow stood.
    pub(super) fn pass_to_backend(
        &self,
        tuple: ClientTuple,
        mut segment: Segment,
        out: &mut Vec<Action>,
    ) {
        let closes = segment.flags.intersects(CLOSING);
        if segment.has(Flags::SYN) || (segment.payload.is_empty() && !closes) {
            return;
        }
        segment.ack = segment.ack.minus(self.delta());
        segment.timestamps = segment.timestamps.map(|stamps| self.stamps_to_backend(stamps));
        segment.window = self.window_to_backend(segment.window);
        self.send_to_backend(tuple, &segment, out);
        if closes {
            out.push(Action::Closing { tuple, sender: Sender::Client, flags: segment.flags });
        }
    }

    /// Passes on a backend's segment that was handed up before the flow stood.
    pub(super) fn pass_to_client(
        &self,
        tuple: ClientTuple,
        mut segment: Segment,
        out: &mut Vec<Action>,
    ) {
        if segment.has(Flags::SYN) {
            return;
        }
        segment.seq = segment.seq.plus(self.delta());
        segment.timestamps = segment.timestamps.map(|stamps| self.stamps_to_client(stamps));
        let [from, to] = [self.backend_scale, self.promised_scale].map(|scale| scale.unwrap_or(0));
        segment.window = rescale(segment.window, from, to);
        out.extend(self.cut(&segment).map(|segment| Action::ToClient { tuple, segment }));
        if segment.flags.intersects(CLOSING) {
            out.push(Action::Closing { tuple, sender: Sender::Backend, flags: segment.flags });
        }
    }
}
