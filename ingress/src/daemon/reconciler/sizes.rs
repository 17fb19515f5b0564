//! The largest segments that clients are promised: no larger than what a port's backends have taken of late.
//!
//! The least that any of them announced counts, since a SYN is answered before its backend is known. A backend that
//! nobody has used for a while counts no more, so that one odd server does not make everybody's segments small for
//! ever; and none counts for less than what every host takes.

use std::{collections::HashMap, time::Duration};

use ingress_common::maps::{LEAST_MSS, Listener, ListenerKey};
use tokio::time::Instant;

use crate::daemon::plan::Known;

/// How long a promise stays low after the last backend that asked for it.
const REMEMBERED: Duration = Duration::from_secs(600);

/// When the low promises were last asked for.
#[derive(Debug, Default)]
pub(super) struct Sizes(HashMap<ListenerKey, Instant>);

/// Whether a backend takes less than its port promises, or just as much as the port was lowered to.
#[must_use]
pub fn is_news(promise: &Listener, announced: u16) -> bool {
    let (takes, promised) = (announced.max(LEAST_MSS), u16::from_be_bytes(promise.mss));
    takes < promised || takes == promised && promise.lowered != 0
}

impl Sizes {
    /// Takes note of what a backend announced; the MSS to promise, where that changes.
    pub(super) fn hear(
        &mut self,
        key: &ListenerKey,
        promise: &Listener,
        announced: u16,
        now: Instant,
    ) -> Option<u16> {
        if !is_news(promise, announced) {
            return None;
        }
        self.0.insert(*key, now);
        let takes = announced.max(LEAST_MSS);
        (takes.to_be_bytes() != promise.mss).then_some(takes)
    }

    /// Takes the mark off what nobody has asked for any more. What an earlier daemon lowered counts from now.
    pub(super) fn recall(&mut self, known: &mut Known, now: Instant) {
        for (key, listener) in known.iter_mut().filter(|(_, listener)| listener.lowered != 0) {
            let heard = *self.0.entry(*key).or_insert(now);
            listener.lowered = u8::from(now.duration_since(heard) < REMEMBERED);
        }
        self.0.retain(|key, _| known.get(key).is_some_and(|listener| listener.lowered != 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ListenerKey =
        ListenerKey { address: [198, 51, 100, 2], port: [1, 187], reserved: [0; 2] };

    fn promise(mss: u16, lowered: u8) -> Listener {
        Listener { mss: mss.to_be_bytes(), lowered, ..Listener::default() }
    }

    #[test]
    fn the_least_counts_and_nothing_below_what_everybody_takes() {
        let (mut sizes, now) = (Sizes::default(), Instant::now());
        let mut hear = |promise, announced| sizes.hear(&KEY, &promise, announced, now);
        assert_eq!(hear(promise(1360, 0), 1440), None);
        assert_eq!(hear(promise(1360, 0), 1360), None);
        assert_eq!(hear(promise(1360, 0), 1220), Some(1220));
        assert_eq!(hear(promise(1220, 1), 536), Some(536));
        assert_eq!(hear(promise(1360, 0), 100), Some(536));
        assert_eq!(hear(promise(536, 1), 100), None);
        assert_eq!(hear(promise(536, 1), 1220), None);
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_forgotten() {
        let (mut sizes, mut now) = (Sizes::default(), Instant::now());
        let lowered = |sizes: &mut Sizes, now| {
            let mut known = Known::from([(KEY, promise(536, 1))]);
            sizes.recall(&mut known, now);
            known[&KEY].lowered != 0
        };
        // By an earlier daemon, whose time is not known.
        assert!(lowered(&mut sizes, now));
        now += REMEMBERED / 2;
        assert!(lowered(&mut sizes, now));
        assert_eq!(sizes.hear(&KEY, &promise(536, 1), 536, now), None);
        now += REMEMBERED * 3 / 4;
        assert!(lowered(&mut sizes, now), "it was confirmed");
        now += REMEMBERED / 4;
        assert!(!lowered(&mut sizes, now));
        assert!(sizes.0.is_empty());
    }
}
