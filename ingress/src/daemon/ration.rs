//! A limit for log lines that strangers can cause.

use std::time::{Duration, Instant};

/// So many lines at once, and so many a second after that.
const BURST: u32 = 30;
const EVERY: Duration = Duration::from_millis(200);

/// A bucket of lines, and a count of those that were held back.
pub struct Ration {
    left: u32,
    filled: Instant,
    held_back: u64,
}

impl Ration {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self { left: BURST, filled: now, held_back: 0 }
    }

    /// Whether a line may be written; if so, how many before it were not.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        let since = now.saturating_duration_since(self.filled);
        let earned = since.as_nanos() / EVERY.as_nanos();
        if earned >= u128::from(BURST - self.left) {
            (self.left, self.filled) = (BURST, now);
        } else if let Ok(earned) = u32::try_from(earned) {
            self.left += earned;
            self.filled += EVERY * earned;
        }
        if self.left == 0 {
            self.held_back += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let begin = Instant::now();
        let mut ration = Ration::new(begin);
        let written = (0..1000).filter(|_| ration.take(begin).is_some()).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(ration.take(begin + EVERY), Some(1000 - u64::from(BURST)));
        assert_eq!(ration.take(begin + EVERY), None);
        assert_eq!(ration.take(begin + EVERY * 5 / 2), Some(1));
        assert_eq!(ration.take(begin + EVERY * 5 / 2), None, "half a line is none");
        assert_eq!(ration.take(begin + EVERY * 3), Some(1));
        let much_later = begin + Duration::from_secs(3600);
        let written = (0..1000).filter(|_| ration.take(much_later).is_some()).count();
        assert_eq!(written, BURST as usize);
    }
}
