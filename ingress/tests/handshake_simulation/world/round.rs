//! One connection from its SYN to what the client made of it, and whether that is what had to come of it.

use ingress::handshake::Outcome;
use rand::seq::IndexedRandom;

use super::World;
use crate::End;
use crate::peers::Seen;
use crate::scenario::{Behaviour, Scenario, Writes};
use crate::tcp::Micros;

const ROUND_LIMIT: Micros = 150_000_000;

impl World {
    /// One connection, and what became of it by the client's own account.
    pub(super) fn round(&mut self) -> End {
        self.connect();
        let stamped = self.client().tcp.clock.agreed;
        let started = self.now;
        let finished = self.finished.len();
        let abort_at = self.scenario.aborts.map(|at| started + at);
        let mut restart_at = self.scenario.restarts.map(|at| started + at);
        while self.client().seen.is_none() {
            assert!(self.now < started + ROUND_LIMIT, "the client hangs");
            if abort_at.is_some_and(|at| self.now >= at) {
                let mut out = Vec::new();
                self.client().tcp.abort(&mut out);
                self.client().seen = Some(Seen::Aborted);
                self.client_sends(out);
                break;
            }
            if restart_at.is_some_and(|at| self.now >= at) {
                restart_at = None;
                self.restart();
            }
            let until = abort_at.into_iter().chain(restart_at).min().unwrap_or(Micros::MAX);
            assert!(self.step(until), "nothing will ever happen again");
        }
        let expected = self.scenario.expected(stamped);
        let pause = *[0, 1000, 400_000, 6_000_000].choose(&mut self.rng).unwrap();
        if self.client().seen == Some(Seen::Served) {
            self.check_server();
            self.check_promptness(started);
        }
        let until = self.now + pause;
        while self.now < until && self.step(until) {}
        let seen = self.client().seen;
        if seen == Some(Seen::Aborted) {
            return (expected, None);
        }
        let lossless = self.scenario.lossless();
        if self.client().saw(expected) {
            // The outcome of a refusal is told at its end.
            let told = &self.finished[finished..];
            assert!(
                !lossless || pause < 6_000_000 || told.last() == Some(&expected),
                "{told:?} instead of {expected:?}"
            );
            return (expected, Some(expected));
        }
        assert!(!lossless, "client saw {seen:?}, expected {expected:?}");
        assert_ne!(seen, Some(Seen::Served), "served in spite of {expected:?}");
        if matches!(seen, Some(Seen::Alert(_) | Seen::PostgresError)) {
            // Losses can make a backend look silent, not a name look wrong.
            assert!(self.scenario.backends.contains(&Behaviour::WithoutTls), "{seen:?}");
        }
        (expected, Some(Outcome::BackendSilent))
    }

    fn check_server(&mut self) {
        let (stream, isn) = (self.client().stream.clone(), self.client().tcp.iss);
        let server = self
            .servers
            .iter()
            .find(|server| server.tcp.irs == isn && server.tcp.received == stream)
            .unwrap_or_else(|| panic!("no server has what the client sent"));
        assert!(server.tcp.peer_closed());
        let ours = &self.client.as_ref().expect("a round runs").tcp.clock;
        assert_eq!(server.tcp.clock.agreed, ours.agreed, "timestamps at both ends or at none");
    }

    /// Where nothing is lost, the answer takes the round trips that it takes, and nothing waits for a timer.
    fn check_promptness(&mut self, started: Micros) {
        let Scenario { outer, tunnel, dns_delay, .. } = &self.scenario;
        let bound = dns_delay
            + 14 * (outer.delay + outer.jitter)
            + 10 * (tunnel.delay + tunnel.jitter)
            + 80_000;
        let stamped = self.client.as_ref().is_some_and(|client| client.tcp.clock.agreed);
        // Of a hello in single octets no more than some are kept that came too early.
        let kept = self.scenario.writes != Writes::Bytewise || outer.jitter == 0;
        let quick = self.scenario.lossless()
            && kept
            && self.scenario.backends[0] == Behaviour::Good
            && (self.scenario.stamping[0] || !stamped);
        let took = self.client().answered_at.map_or(0, |at| at - started);
        assert!(!quick || took < bound, "answered after {took} µs, not {bound}");
    }
}
