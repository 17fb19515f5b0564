//! Who has how many queries under way: there are only so many, and one neighbourhood of clients leaves most of them to
//! the others. The operator asks as well, and has none.

use std::collections::HashMap;

use crate::fairness::{Neighbourhood, SHARE, may_take};

/// Queries under way at a time.
pub(super) const MOST_QUERIES: usize = 256;

/// Taken and not given back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    taken: usize,
    by: HashMap<Neighbourhood, usize>,
}

impl Slots {
    /// Takes a slot, to be given back when the query has ended.
    pub fn take(&mut self, who: Option<Neighbourhood>) -> bool {
        let theirs = who.and_then(|who| self.by.get(&who)).copied().unwrap_or(0);
        if may_take(1, theirs, self.taken, MOST_QUERIES, SHARE).is_err() {
            return false;
        }
        self.taken += 1;
        if let Some(who) = who {
            self.by.insert(who, theirs + 1);
        }
        true
    }

    pub fn give_back(&mut self, who: Option<Neighbourhood>) {
        self.taken = self.taken.saturating_sub(1);
        let Some(who) = who else { return };
        if let Some(theirs) = self.by.get_mut(&who) {
            *theirs -= 1;
            if *theirs == 0 {
                self.by.remove(&who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbourhood(client: [u8; 4]) -> Option<Neighbourhood> {
        Some(Neighbourhood::of(client.into()))
    }

    #[test]
    fn one_neighbourhood_leaves_most_to_the_others() {
        let (mut slots, greedy) = (Slots::default(), neighbourhood([192, 0, 2, 7]));
        let taken = (0..).take_while(|_| slots.take(greedy)).count();
        assert_eq!(taken, MOST_QUERIES / (SHARE + 1) + 1);
        assert!(!slots.take(neighbourhood([192, 0, 2, 99])), "the same /24");
        assert!(slots.take(neighbourhood([192, 0, 3, 7])));
        assert!(slots.take(None), "the operator");
        (0..taken).for_each(|_| slots.give_back(greedy));
        assert_eq!((slots.taken, slots.by.len()), (2, 1));
    }

    #[test]
    fn all_together_get_no_more_than_there_are() {
        let mut slots = Slots::default();
        assert_eq!((0..).take_while(|_| slots.take(None)).count(), MOST_QUERIES);
        slots.give_back(None);
        assert!(slots.take(None));
    }
}
