//! Who has how many queries under way: there are only so many, and one neighbourhood of clients (/24) leaves most of
//! them to the others, by the rule that handshakes are shared out by.

use std::{collections::HashMap, net::Ipv4Addr};

/// Queries under way at a time.
pub(super) const MOST_QUERIES: usize = 256;
/// A neighbourhood may have as many as are free, divided by this.
const SHARE: usize = 8;

/// The neighbourhood of a client that asks; the operator, who asks as well, has none.
pub(super) type Neighbourhood = Option<[u8; 3]>;

pub(super) fn neighbourhood(client: Ipv4Addr) -> Neighbourhood {
    let [a, b, c, _] = client.octets();
    Some([a, b, c])
}

/// Taken and not given back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    taken: usize,
    by: HashMap<[u8; 3], usize>,
}

impl Slots {
    /// Takes a slot, to be given back when the query has ended.
    pub fn take(&mut self, who: Neighbourhood) -> bool {
        let free = MOST_QUERIES.saturating_sub(self.taken);
        let theirs = who.and_then(|who| self.by.get(&who)).copied().unwrap_or(0);
        if free == 0 || theirs * SHARE >= free {
            return false;
        }
        self.taken += 1;
        if let Some(who) = who {
            self.by.insert(who, theirs + 1);
        }
        true
    }

    pub fn give_back(&mut self, who: Neighbourhood) {
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

    #[test]
    fn one_neighbourhood_leaves_most_to_the_others() {
        let (mut slots, greedy) = (Slots::default(), neighbourhood([192, 0, 2, 7].into()));
        let taken = (0..).take_while(|_| slots.take(greedy)).count();
        assert_eq!(taken, MOST_QUERIES / (SHARE + 1) + 1);
        assert!(!slots.take(neighbourhood([192, 0, 2, 99].into())), "the same /24");
        assert!(slots.take(neighbourhood([192, 0, 3, 7].into())));
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
