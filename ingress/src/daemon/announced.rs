//! The largest segments that backends take, whatever the path to one of their clients is.
//!
//! A host announces to each client what fits the path to that one, once it has learned about it. What it takes at all
//! is the most that it has announced to anybody of late.

use std::{
    collections::HashMap,
    net::Ipv6Addr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long the largest MSS that a backend announced overrides smaller ones.
const OF_LATE: Duration = Duration::from_secs(600);
/// Of backends beyond this many, only the last MSS counts.
const BACKENDS: usize = 4096;

/// The most that each backend has announced, and when.
#[derive(Debug, Default)]
pub struct Announced(Mutex<Most>);

type Most = HashMap<Ipv6Addr, (u16, Instant)>;

impl Announced {
    /// Hears an MSS; what the backend takes, as far as is known.
    pub fn hear(&self, backend: Ipv6Addr, mss: u16, now: Instant) -> u16 {
        let recent = |at: &Instant| now.duration_since(*at) < OF_LATE;
        let mut all = self.lock();
        if let Some((most, at)) = all.get(&backend)
            && *most > mss
            && recent(at)
        {
            return *most;
        }
        if all.len() >= BACKENDS && !all.contains_key(&backend) {
            all.retain(|_, (_, at)| recent(at));
            if all.len() >= BACKENDS {
                return mss;
            }
        }
        all.insert(backend, (mss, now));
        mss
    }

    /// Forgets what was announced: the operator may have changed it.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Most> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number)
    }

    #[test]
    fn the_most_counts_until_nobody_has_heard_it_for_a_while() {
        let (announced, start) = (Announced::default(), Instant::now());
        let hear =
            |mss, seconds| announced.hear(backend(1), mss, start + Duration::from_secs(seconds));
        assert_eq!(hear(1220, 0), 1220);
        assert_eq!(hear(1360, 1), 1360);
        assert_eq!(hear(1220, 2), 1360);
        // Heard again at 500; that it was lowered is believed ten minutes later.
        assert_eq!(hear(1360, 500), 1360);
        assert_eq!(hear(1220, 1099), 1360);
        assert_eq!(hear(1220, 1100), 1220);
        assert_eq!(hear(536, 1101), 1220);
        assert_eq!(hear(1360, 1102), 1360);
    }

    #[test]
    fn backends_are_told_apart() {
        let (announced, now) = (Announced::default(), Instant::now());
        assert_eq!(announced.hear(backend(1), 1360, now), 1360);
        assert_eq!(announced.hear(backend(2), 536, now), 536);
        assert_eq!(announced.hear(backend(1), 536, now), 1360);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_makes_room() {
        let (announced, start) = (Announced::default(), Instant::now());
        for number in 0..=u16::MAX {
            announced.hear(backend(number), 1360, start);
        }
        assert_eq!(announced.lock().len(), BACKENDS);
        assert_eq!(announced.hear(backend(u16::MAX), 1220, start), 1220, "its last word");
        let later = start + OF_LATE;
        assert_eq!(announced.hear(backend(u16::MAX), 1360, later), 1360);
        assert_eq!(announced.hear(backend(u16::MAX), 1220, later), 1360);
        assert_eq!(announced.lock().len(), 1);
    }
}
