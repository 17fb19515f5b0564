//! When the shield goes up by itself, and in which mode: rules about rates, without a clock.
//!
//! Not every driver gets out what an XDP program sends: a veth whose peer has no XDP program loses it without a word. So
//! native mode is tried first, while clients are known to come, and kept only if they go on coming.

use crate::control::Shield;

/// SYNs answered in a second from which on it may be a flood.
const MANY: u64 = 2000;
/// SYNs answered in a second below which it is none any more.
const FEW: u64 = 500;
/// A flood is believed after so many seconds, and its end after so many.
const BELIEVE: u32 = 3;
const RELEASE: u32 = 60;
/// As many cookies must come back in [`BEFORE`] seconds to make a trial of native mode mean something.
const CLIENTS: u64 = 12;
const BEFORE: usize = 3;
/// In the first second of a trial there still comes what was answered before it; the second one decides. No
/// more, for a client whose SYNs are lost tries again after one second, and then after two.
const TRIAL: u32 = 2;
/// Native mode has failed if less than this part of them comes back.
const PART: u64 = 4;

/// What is known of native mode on this uplink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Native {
    #[default]
    Unknown,
    /// For so many seconds; cookies that came back in the [`BEFORE`] seconds before it.
    OnTrial(u32, u64),
    Good,
    /// Its answers do not get out, or the driver has none.
    Bad,
}

/// Watches the counters of cookies, once a second.
#[derive(Debug, Default)]
pub struct FloodWatch {
    last: Option<(u64, u64)>,
    in_a_row: u32,
    up: bool,
    recent: [u64; BEFORE],
    native: Native,
}

impl FloodWatch {
    /// What the shield is to do, after another second: `sent` and `returned` are all cookies so far that went
    /// out and that came back.
    pub fn observe(&mut self, sent: u64, returned: u64) -> Shield {
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
        self.recent.rotate_left(1);
        self.recent[BEFORE - 1] = returned;
        self.judge_native(returned);
        self.shield()
    }

    /// The driver did not take it.
    pub fn native_refused(&mut self) -> Shield {
        self.native = Native::Bad;
        self.shield()
    }

    fn judge_native(&mut self, returned: u64) {
        let recent = self.recent.iter().sum();
        self.native = match self.native {
            Native::Unknown if self.up && recent >= CLIENTS => Native::OnTrial(0, recent),
            Native::OnTrial(..) if !self.up => Native::Unknown,
            Native::OnTrial(seconds, before) if seconds + 1 < TRIAL => {
                Native::OnTrial(seconds + 1, before)
            }
            Native::OnTrial(_, before) if returned * PART * BEFORE as u64 >= before => Native::Good,
            Native::OnTrial(..) => Native::Bad,
            known @ (Native::Unknown | Native::Good | Native::Bad) => known,
        };
    }

    fn shield(&self) -> Shield {
        match self.native {
            _ if !self.up => Shield::Off,
            Native::Unknown | Native::Bad => Shield::Generic,
            Native::OnTrial(..) | Native::Good => Shield::Native,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Shield::{Generic, Native, Off};

    /// Seconds of a rate, and what the shield does after each.
    fn seconds(
        watch: &mut FloodWatch,
        total: &mut (u64, u64),
        count: u32,
        rate: (u64, u64),
    ) -> Vec<Shield> {
        (0..count)
            .map(|_| {
                *total = (total.0 + rate.0, total.1 + rate.1);
                watch.observe(total.0, total.1)
            })
            .collect()
    }

    #[test]
    fn up_with_a_flood_and_down_a_minute_after() {
        let (mut watch, mut total) = (FloodWatch::default(), (7, 7));
        assert_eq!(watch.observe(total.0, total.1), Off);
        assert_eq!(seconds(&mut watch, &mut total, 3, (50_000, 1)), [Off, Off, Generic]);
        assert!(seconds(&mut watch, &mut total, 100, (1500, 1)).iter().all(|at| *at == Generic));
        assert!(seconds(&mut watch, &mut total, 59, (10, 1)).iter().all(|at| *at == Generic));
        assert_eq!(seconds(&mut watch, &mut total, 1, (600, 0)), [Generic], "not yet");
        let down = seconds(&mut watch, &mut total, 60, (10, 1));
        assert_eq!(down.iter().position(|at| *at == Off), Some(59));
    }

    #[test]
    fn a_crowd_is_no_flood_nor_is_a_moment() {
        let (mut watch, mut total) = (FloodWatch::default(), (0, 0));
        watch.observe(0, 0);
        assert!(seconds(&mut watch, &mut total, 20, (9000, 8000)).iter().all(|at| *at == Off));
        assert!(seconds(&mut watch, &mut total, 2, (90_000, 0)).iter().all(|at| *at == Off));
        assert!(seconds(&mut watch, &mut total, 2, (100, 0)).iter().all(|at| *at == Off));
    }

    /// Native mode loses the answers: two seconds of it, and never again.
    #[test]
    fn native_mode_that_loses_the_answers() {
        let (mut watch, mut total) = (FloodWatch::default(), (0, 0));
        watch.observe(0, 0);
        assert_eq!(seconds(&mut watch, &mut total, 3, (50_000, 20)), [Off, Off, Native]);
        // What was answered before still comes.
        assert_eq!(seconds(&mut watch, &mut total, 1, (50_000, 15)), [Native]);
        assert_eq!(seconds(&mut watch, &mut total, 1, (50_000, 1)), [Generic]);
        assert!(seconds(&mut watch, &mut total, 70, (50_000, 20)).iter().all(|at| *at == Generic));
        seconds(&mut watch, &mut total, 60, (0, 0));
        assert_eq!(seconds(&mut watch, &mut total, 3, (50_000, 20)), [Off, Off, Generic]);
    }

    #[test]
    fn native_mode_that_works_stays() {
        let (mut watch, mut total) = (FloodWatch::default(), (0, 0));
        watch.observe(0, 0);
        // Nobody comes who could tell, then some do.
        assert_eq!(seconds(&mut watch, &mut total, 4, (50_000, 2)), [Off, Off, Generic, Generic]);
        assert_eq!(seconds(&mut watch, &mut total, 2, (50_000, 8)), [Native, Native]);
        assert_eq!(seconds(&mut watch, &mut total, 1, (50_000, 2)), [Native]);
        // Later nobody comes any more, which says nothing.
        assert!(seconds(&mut watch, &mut total, 20, (50_000, 0)).iter().all(|at| *at == Native));
        seconds(&mut watch, &mut total, 60, (0, 0));
        assert_eq!(seconds(&mut watch, &mut total, 3, (50_000, 0)), [Off, Off, Native]);
    }

    #[test]
    fn a_driver_without_it() {
        let (mut watch, mut total) = (FloodWatch::default(), (0, 0));
        watch.observe(0, 0);
        assert_eq!(seconds(&mut watch, &mut total, 3, (50_000, 20)), [Off, Off, Native]);
        assert_eq!(watch.native_refused(), Generic);
        assert_eq!(seconds(&mut watch, &mut total, 3, (50_000, 20)), [Generic; 3]);
    }
}
