//! The counters of the last minutes, for the pictures of the status page.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::metrics::{Series, Unit};

/// The distance between two points.
pub const STEP: Duration = Duration::from_secs(5);
/// Points that are kept: ten minutes.
const MOST: usize = 120;

/// The counters of one moment, in the order of [`KINDS`].
pub type Counts = [u64; KINDS.len()];

/// The lines that are drawn.
const KINDS: [(&str, Unit); 7] = [
    ("IPv6 in", Unit::Bytes),
    ("IPv6 out", Unit::Bytes),
    ("IPv4 in", Unit::Bytes),
    ("IPv4 out", Unit::Bytes),
    ("Connections", Unit::Events),
    ("Refused", Unit::Events),
    ("Dropped packets", Unit::Events),
];

/// The points so far.
#[derive(Default)]
pub struct History {
    points: VecDeque<[f64; KINDS.len()]>,
    last: Option<(Instant, Counts)>,
}

impl History {
    /// Notes what the counters say now.
    pub fn note(&mut self, now: Instant, counts: Counts) {
        if let Some((then, before)) = self.last.replace((now, counts)) {
            let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
            if self.points.len() == MOST {
                self.points.pop_front();
            }
            self.points.push_back(std::array::from_fn(|kind| {
                counts[kind].saturating_sub(before[kind]) as f64 / seconds
            }));
        }
    }

    /// A line for each kind.
    pub fn series(&self) -> Vec<Series> {
        let series = |(kind, (title, unit)): (usize, &(&'static str, Unit))| Series {
            title,
            unit: *unit,
            points: self.points.iter().map(|point| point[kind]).collect(),
        };
        KINDS.iter().enumerate().map(series).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_rates_and_old_ones_go() {
        let mut history = History::default();
        let begin = Instant::now();
        for step in 0..200u32 {
            history.note(begin + STEP * step, [u64::from(step) * 50; KINDS.len()]);
        }
        let series = history.series();
        assert_eq!(series.len(), KINDS.len());
        assert_eq!(series[3].points.len(), MOST);
        assert!(series[3].points.iter().all(|point| (point - 10.0).abs() < 0.001));
    }
}
