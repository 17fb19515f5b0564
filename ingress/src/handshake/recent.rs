//! What to answer to segments that were under way when their handshake ended.
//!
//! A cookie stays valid for a minute or more: without this memory, a client's late retransmission would begin the
//! finished handshake anew, and tear the flow down that it led to.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use ingress_common::tcp::{Flags, Seq};

use super::{Action, ClientTuple, Segment, Splice};

/// Longer than a segment stays in the upcall's ring, and than a client's first retransmissions take.
const MEMORY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Epitaph {
    /// The flow stands; segments belong to the backend.
    Spliced(Box<Splice>),
    /// The client was reset, and may not have heard it.
    Reset,
    /// Both sides have closed.
    Closed,
}

#[derive(Debug, Default)]
pub(super) struct Recent {
    by_tuple: HashMap<ClientTuple, (Seq, Instant, Epitaph)>,
    by_age: VecDeque<(Instant, ClientTuple)>,
}

impl Recent {
    pub(super) fn remember(
        &mut self,
        tuple: ClientTuple,
        cookie: Seq,
        epitaph: Epitaph,
        capacity: usize,
        now: Instant,
    ) {
        self.by_tuple.insert(tuple, (cookie, now, epitaph));
        self.by_age.push_back((now, tuple));
        while self.by_age.len() > capacity {
            self.forget_oldest();
        }
    }

    pub(super) fn forget(&mut self, tuple: &ClientTuple) {
        self.by_tuple.remove(tuple);
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|&(since, _)| now >= since + MEMORY) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((since, tuple)) = self.by_age.pop_front() else { return };
        // The tuple may have been remembered again since.
        if self.by_tuple.get(&tuple).is_some_and(|(_, at, _)| *at == since) {
            self.by_tuple.remove(&tuple);
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.by_age.front().map(|&(since, _)| since + MEMORY)
    }

    /// Answers a client's segment; `false` where it belongs to no connection remembered.
    pub(super) fn on_client(
        &self,
        tuple: ClientTuple,
        cookie: Option<Seq>,
        segment: &Segment,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some((known, _, epitaph)) = self.by_tuple.get(&tuple) else { return false };
        if cookie.is_some_and(|cookie| cookie != *known) {
            return false;
        }
        match epitaph {
            Epitaph::Spliced(splice) => splice.pass_to_backend(tuple, segment.clone(), out),
            Epitaph::Reset if segment.has(Flags::ACK) && !segment.has(Flags::RST) => {
                let segment = Segment::reset(segment.ack, Some(segment.end()));
                out.push(Action::ToClient { tuple, segment });
            }
            Epitaph::Reset | Epitaph::Closed => {}
        }
        true
    }

    /// Passes on a backend's segment.
    pub(super) fn on_backend(&self, tuple: ClientTuple, segment: Segment, out: &mut Vec<Action>) {
        if let Some((_, _, Epitaph::Spliced(splice))) = self.by_tuple.get(&tuple) {
            splice.pass_to_client(tuple, segment, out);
        }
    }
}
