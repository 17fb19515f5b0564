//! Whether the daemon lives, by the time of its last beat in `HEARTBEAT`.

/// A daemon that has been silent for longer than this is taken for gone, in nanoseconds.
pub const LIMIT: u64 = 3_000_000_000;

/// Whether a daemon lives at `now` whose last beat was at `beat`, both in nanoseconds since boot. A beat that another
/// CPU has seen after this one looked at the clock is as fresh as can be.
#[inline(always)]
#[must_use]
pub const fn is_fresh(beat: u64, now: u64) -> bool {
    now.saturating_sub(beat) <= LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn silence_has_a_limit(beat in 0..u64::MAX / 2, silence in 0..2 * LIMIT) {
            prop_assert_eq!(is_fresh(beat, beat + silence), silence <= LIMIT);
        }

        #[test]
        fn a_beat_after_the_look_at_the_clock_is_fresh(now: u64, ahead in 0u64..LIMIT) {
            prop_assert!(is_fresh(now.saturating_add(ahead), now));
        }
    }

    #[test]
    fn without_a_beat_there_is_no_daemon() {
        assert!(!is_fresh(0, LIMIT + 1));
    }
}
