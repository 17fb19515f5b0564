//! Whether native mode gets its answers out, where the configuration asks for it: rules about rates, without a clock.
//!
//! A driver that loses them reports nothing. So where SYNs are answered and no client comes back, generic mode is tried
//! for a few seconds. Clients that come back only then, in three trials, are no chance.

use crate::control::Shield;

/// After so many seconds in which SYNs were answered in vain it is worth trying.
const IN_VAIN: u32 = 3;
/// In its first seconds native mode may be given what was answered without it: an exchange of packets, on a machine
/// with much else to do.
const UNCERTAIN: u32 = 2;
/// So long generic mode has. What comes back in its first second may have been answered before.
const SECONDS: u32 = 4;
/// From one trial to the next: twice as long each time, since some drivers stop for a moment when a program goes up
/// or down.
const PAUSE: u32 = 16;
const LONGEST_PAUSE: u32 = 3600;
/// Native mode is given up after so many trials in which clients came back.
const ENOUGH: u32 = 3;

/// What is known of native mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Native {
    /// At work for so many seconds; in so many of them SYNs were answered.
    Watched { seconds: u32, in_vain: u32 },
    /// Away for so many seconds, and whether clients came back in them.
    Away { seconds: u32, heard: bool },
    /// A client came back.
    Good,
    /// Clients come back only without it.
    Bad,
}

/// Watches the counters of cookies, once a second.
#[derive(Debug)]
pub struct NativeTrial {
    last: Option<(u64, u64)>,
    native: Native,
    pause: u32,
    heard: u32,
}

impl Default for NativeTrial {
    fn default() -> Self {
        let native = Native::Watched { seconds: 0, in_vain: 0 };
        Self { last: None, native, pause: 0, heard: 0 }
    }
}

impl NativeTrial {
    /// At the start and after each second. `sent`: all cookies sent so far. `acknowledged`: those answered by a bare ACK,
    /// without the reopened ones, which tc sends in every mode.
    pub fn observe(&mut self, sent: u64, acknowledged: u64) {
        let Some((sent_before, before)) = self.last.replace((sent, acknowledged)) else {
            return;
        };
        let (sends, hears) = (sent > sent_before, acknowledged > before);
        self.native = match self.native {
            Native::Watched { seconds, .. } if seconds >= UNCERTAIN && hears => Native::Good,
            Native::Watched { seconds, in_vain } => {
                self.watched(seconds + 1, in_vain + u32::from(sends))
            }
            Native::Away { seconds, heard } => {
                self.away(seconds + 1, heard || seconds > 0 && hears)
            }
            known @ (Native::Good | Native::Bad) => known,
        };
    }

    /// What the shield is to do.
    pub fn shield(&self) -> Shield {
        match self.native {
            Native::Watched { .. } | Native::Good => Shield::Native,
            Native::Away { .. } | Native::Bad => Shield::Generic,
        }
    }

    /// Whether native mode was given up.
    pub fn is_lost(&self) -> bool {
        self.native == Native::Bad
    }

    fn watched(&mut self, seconds: u32, in_vain: u32) -> Native {
        if in_vain < IN_VAIN || seconds < self.pause {
            return Native::Watched { seconds, in_vain };
        }
        self.pause = (self.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
        Native::Away { seconds: 0, heard: false }
    }

    fn away(&mut self, seconds: u32, heard: bool) -> Native {
        if seconds < SECONDS {
            return Native::Away { seconds, heard };
        }
        self.heard += u32::from(heard);
        if self.heard >= ENOUGH {
            return Native::Bad;
        }
        Native::Watched { seconds: 0, in_vain: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network with clients that come and go, seen by the counters.
    #[derive(Default)]
    struct World {
        trial: NativeTrial,
        sent: u64,
        acknowledged: u64,
    }

    impl World {
        /// Seconds of SYNs, of which those come back that `gets_out` says; returns how many were in generic mode.
        fn seconds(&mut self, count: u32, syns: u64, gets_out: impl Fn(Shield) -> bool) -> u32 {
            let mut generic = 0;
            for _ in 0..count {
                let mode = self.trial.shield();
                self.sent += syns;
                self.acknowledged += if gets_out(mode) { syns } else { 0 };
                generic += u32::from(mode == Shield::Generic);
                self.trial.observe(self.sent, self.acknowledged);
            }
            generic
        }
    }

    #[test]
    fn native_mode_that_loses_the_answers_is_given_up_within_two_minutes() {
        for syns in [1, 5, 50_000] {
            let mut world = World { sent: 700, acknowledged: 600, ..World::default() };
            world.seconds(120, syns, |mode| mode == Shield::Generic);
            assert!(world.trial.is_lost(), "{syns}: {:?}", world.trial);
            assert_eq!(world.seconds(600, syns, |mode| mode == Shield::Generic), 600);
        }
    }

    #[test]
    fn native_mode_that_works_is_never_left() {
        let mut world = World::default();
        assert_eq!(world.seconds(60, 0, |_| true), 0, "nobody comes, and nobody is missed");
        assert_eq!(world.seconds(10, 1, |_| true), 0);
        assert_eq!(world.seconds(600, 50_000, |_| false), 0, "later a flood comes alone");
        assert!(!world.trial.is_lost());
    }

    /// Scanners send SYNs and nothing else: both modes are silent, and trials become rare.
    #[test]
    fn who_never_comes_back_decides_nothing() {
        let mut world = World::default();
        let generic = world.seconds(24 * 3600, 1, |_| false);
        assert!(generic <= 32 * SECONDS, "{generic}");
        assert!(!world.trial.is_lost());
        // The first client decides.
        while world.trial.shield() == Shield::Generic {
            world.seconds(1, 1, |_| false);
        }
        world.seconds(2, 1, |_| false);
        world.seconds(1, 1, |_| true);
        assert_eq!(world.trial.native, Native::Good);
    }

    /// What was answered before native mode began comes back when it has begun, and what it has answered when it has
    /// just gone.
    #[test]
    fn the_first_second_says_nothing() {
        let mut world = World { sent: 700, acknowledged: 600, ..World::default() };
        // The daemon looks as soon as the program is up.
        world.trial.observe(world.sent, world.acknowledged);
        world.seconds(UNCERTAIN, 1, |_| true);
        assert!(matches!(world.trial.native, Native::Watched { .. }), "{:?}", world.trial);
        while world.trial.shield() == Shield::Native {
            world.seconds(1, 1, |_| false);
        }
        world.seconds(1, 1, |_| true);
        world.seconds(SECONDS - 1, 1, |_| false);
        assert_eq!(world.trial.shield(), Shield::Native);
        assert_eq!(world.trial.heard, 0);
        world.seconds(1, 1, |_| true);
        assert!(matches!(world.trial.native, Native::Watched { .. }), "{:?}", world.trial);
    }
}
