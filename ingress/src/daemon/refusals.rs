//! The names that were refused of late, for the status page. Clients choose names, so there is a limit.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::handshake::Outcome;

/// Names that are kept; the one that was not asked for the longest makes room.
const MOST: usize = 64;

/// A refused name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the client asked for; none where it named nothing.
    pub name: Option<String>,
    /// Why it was refused.
    pub outcome: Outcome,
    /// How often, since it has been on the list.
    pub count: u64,
    /// How long ago, the last time.
    pub ago: Duration,
}

type Key = (Option<String>, Outcome);

/// Refused names with why, how often, and when last.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<Key, (u64, Instant)>>);

impl Refusals {
    /// Notes a refusal.
    pub fn note(&self, name: Option<&str>, outcome: Outcome) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.map(str::to_owned), outcome);
        if !list.contains_key(&key)
            && list.len() >= MOST
            && let Some(oldest) =
                list.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone())
        {
            list.remove(&oldest);
        }
        let entry = list.entry(key).or_insert((0, Instant::now()));
        *entry = (entry.0 + 1, Instant::now());
    }

    /// The list, the latest first.
    pub fn list(&self) -> Vec<Refusal> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let refusal = |((name, outcome), (count, last)): (&Key, &(u64, Instant))| Refusal {
            name: name.clone(),
            outcome: *outcome,
            count: *count,
            ago: now.saturating_duration_since(*last),
        };
        let mut refusals: Vec<Refusal> = list.iter().map(refusal).collect();
        refusals.sort_by_key(|refusal| refusal.ago);
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_short_and_its_beginning_the_latest() {
        let refusals = Refusals::default();
        for number in 0..1000 {
            refusals.note(Some(&format!("{number}.example")), Outcome::UnknownName);
        }
        refusals.note(Some("998.example"), Outcome::UnknownName);
        refusals.note(None, Outcome::NoName);
        let list = refusals.list();
        assert_eq!(list.len(), MOST);
        assert_eq!((list[0].name.as_deref(), list[0].count), (None, 1));
        assert_eq!((list[1].name.as_deref(), list[1].count), (Some("998.example"), 2));
        assert_eq!(list[2].name.as_deref(), Some("999.example"));
    }
}
