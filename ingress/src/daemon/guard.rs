//! When the shield goes up by itself: rules about rates, without a clock.

/// SYNs answered in a second from which on it may be a flood.
const MANY: u64 = 2000;
/// SYNs answered in a second below which it is none any more.
const FEW: u64 = 500;
/// A flood is believed after so many seconds, and its end after so many.
const BELIEVE: u32 = 3;
const RELEASE: u32 = 60;

/// Watches the counters of cookies, once a second.
#[derive(Debug, Default)]
pub struct Guard {
    last: Option<(u64, u64)>,
    in_a_row: u32,
    up: bool,
}

impl Guard {
    /// Whether the shield is to be up, after another second: `sent` and `returned` are all cookies so far
    /// that went out and that came back.
    pub fn observe(&mut self, sent: u64, returned: u64) -> bool {
        let (sent_before, returned_before) =
            self.last.replace((sent, returned)).unwrap_or((sent, returned));
        let (sent, returned) =
            (sent.saturating_sub(sent_before), returned.saturating_sub(returned_before));
        // A crowd finishes its handshakes; a flood does not.
        let turns = if self.up { sent < FEW } else { sent >= MANY && returned < sent / 2 };
        self.in_a_row = if turns { self.in_a_row + 1 } else { 0 };
        if self.in_a_row >= if self.up { RELEASE } else { BELIEVE } {
            self.up = !self.up;
            self.in_a_row = 0;
        }
        self.up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of a rate, and whether it is up after each.
    fn seconds(
        guard: &mut Guard,
        total: &mut (u64, u64),
        count: u32,
        rate: (u64, u64),
    ) -> Vec<bool> {
        (0..count)
            .map(|_| {
                *total = (total.0 + rate.0, total.1 + rate.1);
                guard.observe(total.0, total.1)
            })
            .collect()
    }

    #[test]
    fn up_with_a_flood_and_down_a_minute_after() {
        let (mut guard, mut total) = (Guard::default(), (7, 7));
        assert!(!guard.observe(total.0, total.1));
        assert_eq!(seconds(&mut guard, &mut total, 3, (50_000, 10)), [false, false, true]);
        assert!(seconds(&mut guard, &mut total, 100, (1500, 10)).iter().all(|up| *up));
        assert!(seconds(&mut guard, &mut total, 59, (10, 10)).iter().all(|up| *up));
        assert!(seconds(&mut guard, &mut total, 1, (600, 0))[0], "not yet");
        let down = seconds(&mut guard, &mut total, 60, (10, 10));
        assert_eq!(down.iter().position(|up| !up), Some(59));
    }

    #[test]
    fn a_crowd_is_no_flood_nor_is_a_moment() {
        let (mut guard, mut total) = (Guard::default(), (0, 0));
        guard.observe(0, 0);
        assert!(seconds(&mut guard, &mut total, 20, (9000, 8000)).iter().all(|up| !up));
        assert!(seconds(&mut guard, &mut total, 2, (90_000, 0)).iter().all(|up| !up));
        assert!(seconds(&mut guard, &mut total, 2, (100, 0)).iter().all(|up| !up));
    }
}
