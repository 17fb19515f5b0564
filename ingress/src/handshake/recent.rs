//! What to answer to segments that were under way when their handshake ended.
//!
//! A cookie stays valid for minutes: without this memory, a client's late retransmission would begin the
//! finished handshake anew, and tear the flow down that it led to.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddrV6;
use std::time::{Duration, Instant};

use ingress_common::tcp::{Flags, Seq};

use super::{Action, ClientTuple, Segment, Splice};

/// Longer than a segment stays in the upcall's ring, and than a client's first retransmissions take.
const MEMORY: Duration = Duration::from_secs(5);

/// How segments are answered after the end of their handshake.
#[derive(Debug)]
pub(super) enum AfterEnd {
    /// The flow stands; segments belong to the backend.
    Spliced(Box<Splice>),
    /// The client was reset, and may not have heard it.
    Reset,
    /// Both sides have closed.
    Closed,
}

#[derive(Debug, Default)]
pub(super) struct Recent {
    /// More than one, oldest first, where connections follow each other quickly on one tuple.
    by_tuple: HashMap<ClientTuple, Vec<Ended>>,
    by_age: VecDeque<(Instant, ClientTuple)>,
}

/// A handshake that has ended.
#[derive(Debug)]
struct Ended {
    cookie: Seq,
    after: AfterEnd,
}

impl Recent {
    pub(super) fn remember(
        &mut self,
        tuple: ClientTuple,
        cookie: Seq,
        after: AfterEnd,
        capacity: usize,
        now: Instant,
    ) {
        self.by_tuple.entry(tuple).or_default().push(Ended { cookie, after });
        self.by_age.push_back((now, tuple));
        while self.by_age.len() > capacity {
            self.forget_oldest();
        }
    }

    /// The flow that the tuple's last handshake ended with was not written, and its client was reset.
    pub(super) fn not_installed(&mut self, tuple: &ClientTuple) {
        let last = self.by_tuple.get_mut(tuple).and_then(|ended| ended.last_mut());
        if let Some(Ended { after: after @ AfterEnd::Spliced(_), .. }) = last {
            *after = AfterEnd::Reset;
        }
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|&(since, _)| now >= since + MEMORY) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, tuple)) = self.by_age.pop_front() else { return };
        if let Entry::Occupied(mut ended) = self.by_tuple.entry(tuple) {
            ended.get_mut().remove(0);
            if ended.get().is_empty() {
                ended.remove();
            }
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.by_age.front().map(|&(since, _)| since + MEMORY)
    }

    /// Whether the cookie belongs to a connection that has ended.
    pub(super) fn knows(&self, tuple: &ClientTuple, cookie: Seq) -> bool {
        self.by_tuple.get(tuple).is_some_and(|ended| ended.iter().any(|one| one.cookie == cookie))
    }

    /// Answers a segment of a client that has no handshake in progress; `false` where it belongs to no connection
    /// remembered.
    pub(super) fn on_client(
        &self,
        tuple: ClientTuple,
        cookie: Option<Seq>,
        segment: &Segment,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(last) = self.by_tuple.get(&tuple).and_then(|ended| ended.last()) else {
            return false;
        };
        if cookie.is_some_and(|cookie| cookie != last.cookie) {
            return cookie.is_some_and(|cookie| self.knows(&tuple, cookie));
        }
        match &last.after {
            AfterEnd::Spliced(splice) => splice.pass_to_backend(tuple, segment.clone(), out),
            AfterEnd::Reset if segment.has(Flags::ACK) && !segment.has(Flags::RST) => {
                let stamps = segment.mirrored_timestamps();
                let segment = Segment::reset(segment.ack, Some(segment.end())).stamped(stamps);
                out.push(Action::ToClient { tuple, segment });
            }
            AfterEnd::Reset | AfterEnd::Closed => {}
        }
        true
    }

    /// Passes on a backend's segment.
    pub(super) fn on_backend(
        &self,
        tuple: ClientTuple,
        from: SocketAddrV6,
        segment: Segment,
        out: &mut Vec<Action>,
    ) {
        let last = self.by_tuple.get(&tuple).and_then(|ended| ended.last());
        if let Some(Ended { after: AfterEnd::Spliced(splice), .. }) = last
            && splice.backend.address == from
        {
            splice.pass_to_client(tuple, segment, out);
        }
    }
}
