//! What a run leaves behind beside its frame: counters that rose, and records in the ring.

use aya::maps::{MapData, RingBuf};
use ingress::dataplane::Counters;
use ingress_common::verdict::{Cookie, DropReason, Traffic};

use super::{Fate, REDIRECT, Record, SHOT, Seen, UNSPEC, read_record};
use crate::bpf::test_run::Ran;

/// Where runs leave them, and what was there before the next one.
pub struct Traces {
    counters: Counters,
    ring: RingBuf<MapData>,
    before: Counts,
}

/// What the counters stood at.
#[derive(Clone, Default)]
struct Counts {
    drops: Vec<u64>,
    cookies: Vec<u64>,
    traffic: Vec<(u64, u64)>,
}

/// By what they rose, an entry for each time.
pub struct Rise {
    pub drops: Vec<DropReason>,
    pub cookies: Vec<Cookie>,
    /// Packets and octets of each path that had any.
    pub traffic: Vec<(Traffic, u64, u64)>,
}

impl Traces {
    pub fn new(counters: Counters, ring: RingBuf<MapData>) -> Self {
        Self { counters, ring, before: Counts::default() }
    }

    /// Nothing that was left so far is the next run's.
    pub fn clear(&mut self) {
        while self.ring.next().is_some() {}
        self.pass_over();
    }

    /// The same for the counters alone; records stay.
    pub fn pass_over(&mut self) {
        self.before = self.count();
    }

    /// How far the counters rose since they were last looked at.
    pub fn rise(&mut self) -> Rise {
        let counts = self.count();
        let rose = |now: &[u64], before: &[u64]| -> Vec<usize> {
            let pairs = now.iter().zip(before).enumerate();
            pairs.flat_map(|(nth, (now, before))| vec![nth; (now - before) as usize]).collect()
        };
        let drops = rose(&counts.drops, &self.before.drops);
        let cookies = rose(&counts.cookies, &self.before.cookies);
        let traffic = Traffic::ALL
            .iter()
            .zip(counts.traffic.iter().zip(&self.before.traffic))
            .map(|(path, (now, before))| (*path, now.0 - before.0, now.1 - before.1))
            .filter(|(_, packets, _)| *packets > 0)
            .collect();
        self.before = counts;
        Rise {
            drops: drops.into_iter().map(|nth| DropReason::ALL[nth]).collect(),
            cookies: cookies.into_iter().map(|nth| Cookie::ALL[nth]).collect(),
            traffic,
        }
    }

    /// Reads everything that a run has left. Counters, ring and action must agree.
    #[track_caller]
    pub fn look(&mut self, before: &[u8], ran: Ran) -> Seen {
        let records: Vec<Record> =
            std::iter::from_fn(|| self.ring.next().map(|record| read_record(&record))).collect();
        let Rise { drops, cookies, traffic } = self.rise();
        let fate = match (ran.action, drops.as_slice()) {
            (UNSPEC, []) => {
                assert_eq!(before, ran.frame, "what the kernel gets is untouched");
                assert!(records.is_empty() && cookies.is_empty() && traffic.is_empty());
                Fate::Kernel
            }
            (REDIRECT, []) => Fate::Sent,
            (SHOT, []) if !records.is_empty() => Fate::Handed,
            (SHOT, []) if matches!(cookies[..], [Cookie::Acknowledged | Cookie::Reopened]) => {
                Fate::Absorbed
            }
            (SHOT, [reason]) => Fate::Dropped(*reason),
            (action, drops) => panic!("action {action}, drops {drops:?}, {records:?}, {cookies:?}"),
        };
        let sent = fate == Fate::Sent;
        assert_eq!(sent, !traffic.is_empty() || cookies == [Cookie::Sent], "{fate:?}, {traffic:?}");
        Seen { fate, frame: ran.frame, records, cookies, traffic }
    }

    fn count(&self) -> Counts {
        let volume = |path: &Traffic| {
            let volume = self.counters.traffic(*path);
            (volume.packets, volume.bytes)
        };
        Counts {
            drops: DropReason::ALL.iter().map(|reason| self.counters.drops(*reason)).collect(),
            cookies: Cookie::ALL.iter().map(|result| self.counters.cookies(*result)).collect(),
            traffic: Traffic::ALL.iter().map(volume).collect(),
        }
    }
}
