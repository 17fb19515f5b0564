//! What names were answered with, for as long as their records say, and how many of them are kept.

use std::{collections::HashMap, net::Ipv6Addr, time::Duration};

use super::{Answer, LookupError};
use crate::host_name::HostName;

const MOST_NAMES: usize = 4096;
/// How long after its time an answer may stand in for one that cannot be had.
const STALE: Duration = Duration::from_secs(3600);
/// How long servers that failed are left alone, where an old answer stands in (RFC 8767 §5: at least 30 s).
const RECHECK: Duration = Duration::from_secs(30);

/// Since boot: what a server has answered grows old while the machine is suspended, too.
pub(super) type Moment = Duration;

#[derive(Default)]
pub(super) struct Cache {
    names: HashMap<HostName, Entry>,
}

struct Entry {
    answer: Answer,
    until: Moment,
    /// The last addresses, where `answer` is a failure to renew them.
    last: Option<(Vec<Ipv6Addr>, Moment)>,
}

/// A row of `ingressctl dns`.
pub(super) struct CachedName {
    pub name: HostName,
    pub answer: Answer,
    /// How long the answer still holds.
    pub ttl: Duration,
}

impl Cache {
    pub fn fresh(&self, name: &HostName, now: Moment) -> Option<Answer> {
        self.names.get(name).filter(|entry| entry.until > now).map(|entry| entry.answer.clone())
    }

    pub fn stale(&self, name: &HostName, now: Moment) -> Option<Vec<Ipv6Addr>> {
        let (addresses, until) = self.names.get(name)?.addresses()?;
        (now < until + STALE).then_some(addresses)
    }

    /// Whether the last query for the name failed.
    pub fn has_failed(&self, name: &HostName) -> bool {
        let answer = self.names.get(name).map(|entry| &entry.answer);
        matches!(answer, Some(Err(LookupError::Failed(_))))
    }

    pub fn insert(&mut self, name: HostName, answer: Answer, now: Moment, mut ttl: Duration) {
        let last = match answer {
            Err(LookupError::Failed(_)) => self.names.get(&name).and_then(Entry::addresses),
            Ok(_) | Err(LookupError::NotFound) => None,
        };
        if let Some((_, until)) = last {
            ttl = ttl.max(RECHECK.min((until + STALE).saturating_sub(now)));
        }
        if self.names.len() >= MOST_NAMES && !self.names.contains_key(&name) {
            self.make_room(now);
        }
        self.names.insert(name, Entry { answer, until: now + ttl, last });
    }

    /// Names without an address go first: anybody can ask for any number of them.
    fn make_room(&mut self, now: Moment) {
        self.names.retain(|_, entry| entry.until + STALE > now);
        let least = self
            .names
            .iter()
            .min_by_key(|(_, entry)| (entry.addresses().is_some(), entry.until))
            .map(|(name, _)| name.clone());
        if let Some(least) = least {
            self.names.remove(&least);
        }
    }

    pub fn remove(&mut self, name: &HostName) -> bool {
        self.names.remove(name).is_some()
    }

    pub fn clear(&mut self) -> usize {
        let count = self.names.len();
        self.names.clear();
        count
    }

    pub fn list(&self, now: Moment) -> Vec<CachedName> {
        let mut list: Vec<_> = self
            .names
            .iter()
            .filter(|(_, entry)| entry.until > now)
            .map(|(name, entry)| CachedName {
                name: name.clone(),
                answer: entry.answer.clone(),
                ttl: entry.until - now,
            })
            .collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }
}

impl Entry {
    fn addresses(&self) -> Option<(Vec<Ipv6Addr>, Moment)> {
        match &self.answer {
            Ok(addresses) => Some((addresses.clone(), self.until)),
            Err(_) => self.last.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> HostName {
        name.parse().unwrap()
    }

    const TTL: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_outlives_a_failure_but_not_a_denial() {
        let (mut cache, now) = (Cache::default(), Duration::from_secs(7200));
        let address = vec![Ipv6Addr::LOCALHOST];
        cache.insert(name("a.b"), Ok(address.clone()), now, TTL);
        assert_eq!(cache.fresh(&name("a.b"), now + TTL / 2), Some(Ok(address.clone())));
        assert_eq!(cache.fresh(&name("a.b"), now + TTL), None);

        let failure = Err(LookupError::Failed("away".to_owned()));
        for minute in 1..=2 {
            cache.insert(name("a.b"), failure.clone(), now + TTL * minute, TTL);
            assert_eq!(cache.fresh(&name("a.b"), now + TTL * minute), Some(failure.clone()));
            assert_eq!(cache.stale(&name("a.b"), now + TTL * minute), Some(address.clone()));
        }
        assert_eq!(cache.stale(&name("a.b"), now + TTL + STALE), None);

        cache.insert(name("a.b"), Err(LookupError::NotFound), now, TTL);
        assert_eq!(cache.stale(&name("a.b"), now), None);
    }

    #[test]
    fn a_failure_is_kept_for_as_long_as_an_old_answer_stands_in() {
        let (mut cache, now) = (Cache::default(), Duration::from_secs(7200));
        let second = Duration::from_secs(1);
        let failure = Err(LookupError::Failed("away".to_owned()));
        let answer = Ok(vec![Ipv6Addr::LOCALHOST]);
        let (new, known, old, older) =
            (name("new.b"), name("known.b"), name("old.b"), name("older.b"));
        for (name, last, kept) in [
            (&new, None, second),
            (&known, Some(now - second), RECHECK),
            (&old, Some(now + 10 * second - STALE), 10 * second),
            (&older, Some(now - STALE), second),
        ] {
            if let Some(until) = last {
                cache.insert(name.clone(), answer.clone(), until - TTL, TTL);
            }
            cache.insert(name.clone(), failure.clone(), now, second);
            assert!(cache.fresh(name, now + kept - second / 2).is_some(), "{name}");
            assert_eq!(cache.fresh(name, now + kept), None, "{name}");
            assert!(cache.has_failed(name));
        }
        cache.insert(known.clone(), answer, now, TTL);
        assert!(!cache.has_failed(&known));
    }

    #[test]
    fn a_flood_of_unknown_names_pushes_out_no_known_one() {
        let (mut cache, now) = (Cache::default(), Duration::from_secs(7200));
        cache.insert(name("a.b"), Ok(vec![Ipv6Addr::LOCALHOST]), now, TTL);
        for n in (0..2 * MOST_NAMES).map(|n| format!("x{n}")) {
            cache.insert(name(&format!("{n}.b")), Err(LookupError::NotFound), now, 2 * TTL);
        }
        assert_eq!(cache.list(now).len(), MOST_NAMES);
        assert!(cache.fresh(&name("a.b"), now).is_some());
        assert_eq!(cache.clear(), MOST_NAMES);
    }
}
