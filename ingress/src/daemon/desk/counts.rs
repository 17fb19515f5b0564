//! What was counted, by the programs and by the daemon.

use std::sync::atomic::Ordering;

use ingress_common::verdict::{Cookie, DropReason, Traffic as Path};

use super::Desk;
use crate::{
    control::{self, Count, Direction, DropCount, Drops, Stats, Traffic},
    dns::LookupResult,
    flows::Cause,
    handshake::Outcome,
};

impl Desk {
    pub(super) fn stats(&self) -> Stats {
        let tally = &self.shared.tally;
        let dns = self.shared.resolver.metrics();
        Stats {
            traffic: Path::ALL.iter().map(|path| self.traffic(*path)).collect(),
            flows_opened: tally.opened.load(Ordering::Relaxed),
            flows_closed: Cause::ALL
                .iter()
                .map(|cause| Count::new(cause.as_str(), tally.closed_for(*cause)))
                .collect(),
            syn_cookies: Cookie::ALL
                .iter()
                .map(|result| Count::new(result.label(), self.counters.cookies(*result)))
                .collect(),
            handshakes: Outcome::ALL
                .iter()
                .map(|outcome| Count::new(outcome.as_str(), tally.ended_with(*outcome)))
                .collect(),
            dns_lookups: LookupResult::ALL
                .iter()
                .map(|result| Count::new(result.as_str(), dns.lookups(*result)))
                .collect(),
        }
    }

    fn traffic(&self, path: Path) -> Traffic {
        let volume = self.counters.traffic(path);
        let (way, direction) = match path {
            Path::Ipv6In => (control::Path::Ipv6, Direction::In),
            Path::Ipv6Out => (control::Path::Ipv6, Direction::Out),
            Path::Nat46In => (control::Path::Nat46, Direction::In),
            Path::Nat46Out => (control::Path::Nat46, Direction::Out),
        };
        Traffic { path: way, direction, packets: volume.packets, bytes: volume.bytes }
    }

    pub(super) fn drops(&self) -> Drops {
        let row = |reason: &DropReason| DropCount {
            reason: reason.label().into(),
            description: reason.description().into(),
            count: self.counters.drops(*reason),
        };
        Drops { drops: DropReason::ALL.iter().map(row).collect() }
    }
}
