//! Rate limits: token buckets that fill with time.

use crate::maps::Bucket;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds in which one token is earned; not zero.
    pub nanos_each: u64,
    /// The most tokens that a bucket holds.
    pub burst: u64,
}

impl Rate {
    /// Takes `cost` tokens out of the bucket at `now`, in nanoseconds since boot; `false` where there are not so many.
    ///
    /// Two CPUs may take the same token; a limit of this kind can bear it.
    #[inline(always)]
    pub fn take(&self, bucket: &mut Bucket, cost: u64, now: u64) -> bool {
        // Another CPU may have filled it after this one looked at the clock.
        let earned = now.saturating_sub(bucket.filled) / self.nanos_each;
        if earned > 0 {
            let tokens = bucket.tokens + earned;
            let full = tokens > self.burst || earned > self.burst;
            bucket.tokens = if full { self.burst } else { tokens };
            bucket.filled = now;
        }
        if bucket.tokens < cost {
            return false;
        }
        bucket.tokens -= cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: Rate = Rate { nanos_each: 1_000_000, burst: 200 };

    #[test]
    fn a_bucket_starts_full_and_runs_out() {
        let mut bucket = Bucket::default();
        let now = 1000 * RATE.nanos_each;
        assert_eq!((0..300).filter(|_| RATE.take(&mut bucket, 1, now)).count(), 200);
        assert!(!RATE.take(&mut bucket, 1, now + RATE.nanos_each - 1));
        assert!(RATE.take(&mut bucket, 1, now + RATE.nanos_each));
        assert!(!RATE.take(&mut bucket, 1, now + RATE.nanos_each));
    }

    #[test]
    fn what_costs_more_waits_for_more() {
        let mut bucket = Bucket { filled: 0, tokens: 0 };
        assert!(!RATE.take(&mut bucket, 10, 9 * RATE.nanos_each));
        assert_eq!(bucket.tokens, 9, "what was earned is kept");
        assert!(RATE.take(&mut bucket, 10, 10 * RATE.nanos_each));
        assert_eq!(bucket.tokens, 0);
    }

    #[test]
    fn a_clock_that_is_behind_earns_nothing() {
        let mut bucket = Bucket { filled: 5 * RATE.nanos_each, tokens: 1 };
        assert!(RATE.take(&mut bucket, 1, 0));
        assert!(!RATE.take(&mut bucket, 1, 0));
    }

    proptest! {
        /// Whenever it is asked, no more is granted than one burst and what the time earns.
        #[test]
        fn the_rate_holds(
            pauses in proptest::collection::vec(0u64..5 * RATE.nanos_each, 0..2000), cost in 1u64..20,
        ) {
            let mut bucket = Bucket::default();
            let begin = 1000 * RATE.nanos_each;
            let (mut now, mut granted) = (begin, 0);
            for pause in pauses {
                now += pause;
                granted += if RATE.take(&mut bucket, cost, now) { cost } else { 0 };
                prop_assert!(bucket.tokens <= RATE.burst);
            }
            prop_assert!(granted <= RATE.burst + (now - begin) / RATE.nanos_each);
        }
    }
}
