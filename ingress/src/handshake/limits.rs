//! How much handshakes may hold: all of them, and those from one neighbourhood.

use std::collections::HashMap;
use std::time::Duration;

use crate::config::LONGEST_DNS_TIMEOUT;
use crate::fairness::{Neighbourhood, Refused, SHARE, may_take};

/// How much one machine may hold, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Handshakes at the same time; a new one above it is refused. Each holds at most 34 KiB, and two or three in
    /// practice. As many ended ones are remembered for a few seconds.
    pub connections: usize,
    /// Octets of clients, of all handshakes.
    pub octets: usize,
    /// Handshakes that wait for their name to be looked up.
    pub lookups: usize,
    /// A neighbourhood may hold as much as is free, divided by this.
    pub share: usize,
    /// From the first octets to a complete ClientHello.
    pub hello_deadline: Duration,
    /// How long a name may take to resolve. Longer than the resolver waits for its servers, so that an old answer comes
    /// in time.
    pub resolve_deadline: Duration,
    /// How long a backend may be silent while there is another one to try.
    pub backend_patience: Duration,
    /// How long the last backend may be silent.
    pub last_backend_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            octets: 32 << 20,
            lookups: 8192,
            share: SHARE,
            hello_deadline: Duration::from_secs(10),
            resolve_deadline: LONGEST_DNS_TIMEOUT + Duration::from_secs(2),
            backend_patience: Duration::from_millis(1500),
            last_backend_patience: Duration::from_secs(5),
        }
    }
}

/// What one handshake holds, or what all of a neighbourhood do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) connections: usize,
    pub(super) octets: usize,
    pub(super) lookups: usize,
}

/// Who holds how much.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    all: Held,
    sources: HashMap<Neighbourhood, Held>,
}

impl Ledger {
    /// Whether a handshake may come to hold `after` where it held `before`.
    pub(super) fn allows(
        &self,
        limits: &Limits,
        source: Neighbourhood,
        before: Held,
        after: Held,
    ) -> Result<(), Refused> {
        let theirs = self.sources.get(&source).copied().unwrap_or_default();
        for (before, after, all, theirs, limit) in [
            (
                before.connections,
                after.connections,
                self.all.connections,
                theirs.connections,
                limits.connections,
            ),
            (before.octets, after.octets, self.all.octets, theirs.octets, limits.octets),
            (before.lookups, after.lookups, self.all.lookups, theirs.lookups, limits.lookups),
        ] {
            if after > before {
                may_take(after - before, theirs, all, limit, limits.share)?;
            }
        }
        Ok(())
    }

    /// Books a change that was allowed, or one that needs no leave.
    pub(super) fn change(&mut self, source: Neighbourhood, before: Held, after: Held) {
        if before == after {
            return;
        }
        let theirs = self.sources.entry(source).or_default();
        for held in [&mut self.all, theirs] {
            held.connections = held.connections + after.connections - before.connections;
            held.octets = held.octets + after.octets - before.octets;
            held.lookups = held.lookups + after.lookups - before.lookups;
        }
        if *theirs == Held::default() {
            self.sources.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;
    use std::time::Instant;

    use ingress_common::tcp::{Flags, Seq, SynOptions};

    use super::*;
    use crate::handshake::{
        Action, Admission, ClientTuple, Event, Handshakes, Outcome, Protocol, Segment,
    };

    const ONE: Held = Held { connections: 1, octets: 0, lookups: 0 };
    const NONE: Held = Held { connections: 0, octets: 0, lookups: 0 };

    fn neighbourhood([a, b, c]: [u8; 3]) -> Neighbourhood {
        Neighbourhood::of([a, b, c, 0].into())
    }

    /// As many as it gets.
    fn take_all(ledger: &mut Ledger, limits: &Limits, source: Neighbourhood) -> usize {
        (0..).take_while(|_| take(ledger, limits, source)).count()
    }

    fn take(ledger: &mut Ledger, limits: &Limits, source: Neighbourhood) -> bool {
        let allowed = ledger.allows(limits, source, NONE, ONE).is_ok();
        if allowed {
            ledger.change(source, NONE, ONE);
        }
        allowed
    }

    #[test]
    fn one_neighbourhood_gets_a_ninth() {
        let (mut ledger, limits) = (Ledger::default(), Limits::default());
        let taken = take_all(&mut ledger, &limits, neighbourhood([1, 2, 3]));
        assert_eq!(taken, limits.connections / 9 + 1);
        assert_eq!(
            ledger.allows(&limits, neighbourhood([1, 2, 3]), NONE, ONE),
            Err(Refused::Crowded)
        );
    }

    /// Each takes all it can get and holds it for a time, again and again.
    #[test]
    fn many_that_want_everything_come_to_leave_room_for_the_next() {
        let (mut ledger, limits) = (Ledger::default(), Limits::default());
        let floods: Vec<Neighbourhood> =
            (0..64u16).map(u16::to_be_bytes).map(|[b, c]| neighbourhood([10, b, c])).collect();
        let mut taken = vec![0; floods.len()];
        for _ in 0..10 {
            for (source, taken) in floods.iter().zip(&mut taken) {
                (0..*taken).for_each(|_| ledger.change(*source, ONE, NONE));
                *taken = take_all(&mut ledger, &limits, *source);
            }
        }
        assert!(ledger.all.connections < limits.connections, "full");
        assert!(take(&mut ledger, &limits, neighbourhood([192, 0, 2])));
    }

    #[test]
    fn what_is_given_back_can_be_had_again_and_nothing_stays() {
        let (mut ledger, limits) = (Ledger::default(), Limits::default());
        let source = neighbourhood([1, 2, 3]);
        let taken = take_all(&mut ledger, &limits, source);
        (0..taken).for_each(|_| ledger.change(source, ONE, NONE));
        assert_eq!((ledger.all, ledger.sources.len()), (NONE, 0));
        assert_eq!(take_all(&mut ledger, &limits, source), taken);
    }

    #[test]
    fn octets_and_lookups_run_out_too() {
        let (mut ledger, limits) = (Ledger::default(), Limits::default());
        let source = neighbourhood([1, 2, 3]);
        let grown = Held { octets: limits.octets / 8, lookups: 0, ..ONE };
        assert_eq!(ledger.allows(&limits, source, ONE, grown), Ok(()));
        ledger.change(source, ONE, grown);
        let more = Held { octets: grown.octets + 1, ..grown };
        assert_eq!(ledger.allows(&limits, source, grown, more), Err(Refused::Crowded));
        assert_eq!(ledger.allows(&limits, source, grown, ONE), Ok(()), "less is always allowed");
        assert_eq!(ledger.allows(&limits, neighbourhood([9, 9, 9]), ONE, grown), Ok(()));
        let too_much = Held { octets: limits.octets, ..ONE };
        assert_eq!(
            ledger.allows(&limits, neighbourhood([9, 9, 9]), ONE, too_much),
            Err(Refused::Full)
        );
        let asking = Held { lookups: 1, ..ONE };
        let asked = (0..).take_while(|_| {
            let allowed = ledger.allows(&limits, source, ONE, asking).is_ok();
            if allowed {
                ledger.change(source, ONE, asking);
            }
            allowed
        });
        assert_eq!(asked.count(), limits.lookups / 9 + 1);
    }

    const FIRST_OCTETS: &[u8] = &[22, 3, 1, 0x20, 0, 1, 0, 0x1f, 0];

    /// The first octets of a client, and how that ended, if it did.
    fn knock(
        machine: &mut Handshakes,
        client: [u8; 4],
        port: u16,
        octets: &[u8],
    ) -> Option<Outcome> {
        let client = SocketAddrV4::new(client.into(), port);
        let tuple = ClientTuple { client, listen: "203.0.113.1:443".parse().unwrap() };
        let segment = Segment {
            seq: Seq(1),
            ack: Seq(1001),
            flags: Flags::ACK,
            payload: octets.to_vec(),
            ..Segment::default()
        };
        let admission = Some(Admission {
            cookie: Seq(1000),
            client_isn: Some(Seq(0)),
            options: SynOptions::default(),
            promised_scale: None,
            protocol: Protocol::Tls,
            default_host: None,
        });
        let mut out = Vec::new();
        machine.handle(Instant::now(), Event::Client { tuple, segment, admission }, &mut out);
        out.into_iter().find_map(|action| {
            if let Action::Finish { outcome, .. } = action { Some(outcome) } else { None }
        })
    }

    #[test]
    fn a_neighbourhood_that_floods_leaves_room_for_others() {
        let mut machine = Handshakes::new(Limits { connections: 90, ..Limits::default() });
        let ends: Vec<_> = (0..1000)
            .filter_map(|port| knock(&mut machine, [10, 0, 0, port as u8], port, FIRST_OCTETS))
            .collect();
        assert_eq!((machine.len(), ends.len()), (10, 990));
        assert!(ends.iter().all(|outcome| *outcome == Outcome::Crowded));
        assert_eq!(knock(&mut machine, [10, 0, 1, 0], 1, FIRST_OCTETS), None);
        // Their time goes by, and all of it is free again.
        let mut out = Vec::new();
        let later = Instant::now() + Limits::default().hello_deadline;
        machine.handle_timeout(later, &mut out);
        assert!(machine.is_empty());
        assert_eq!((machine.ledger.all, machine.ledger.sources.len()), (NONE, 0));
    }

    #[test]
    fn who_holds_many_octets_is_refused_and_who_holds_few_is_not() {
        let mut machine = Handshakes::new(Limits { octets: 9000, ..Limits::default() });
        let long = [FIRST_OCTETS, &[0; 991]].concat();
        assert_eq!(knock(&mut machine, [10, 0, 0, 1], 1, &long), None);
        assert_eq!(knock(&mut machine, [10, 0, 0, 1], 2, &long), Some(Outcome::Crowded));
        assert_eq!(knock(&mut machine, [10, 0, 1, 1], 2, &long), None);
        assert_eq!(machine.ledger.all.octets, 2000);
    }

    #[test]
    fn lookups_are_shared_out_and_the_refused_are_not_looked_up() {
        let hello = &crate::handshake::tests::hello(0);
        let mut machine = Handshakes::new(Limits { lookups: 9, ..Limits::default() });
        assert_eq!(knock(&mut machine, [10, 0, 0, 1], 1, hello), None);
        assert_eq!(knock(&mut machine, [10, 0, 0, 1], 2, hello), Some(Outcome::Crowded));
        assert_eq!(knock(&mut machine, [10, 0, 1, 1], 3, hello), None);
    }
}
