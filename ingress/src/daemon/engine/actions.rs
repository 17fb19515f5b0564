//! What the handshakes want done, done.

use std::{
    net::{SocketAddrV4, SocketAddrV6},
    time::{Duration, Instant},
};

use ingress_common::tcp::Flags;

use super::{Core, log_send};
use crate::{
    daemon::{
        clock::boot_nanos,
        reconciler::{Lesson, is_news},
        shared::Tally,
    },
    flows::{Cause, InstallError, Way, keys},
    handshake::{Action, Backend, ClientTuple, Outcome, ResolveError, Segment, Splice},
    host_name::HostName,
};

impl Core {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Pend { tuple } => {
                if self.flows.remove(tuple) {
                    self.shared.tally.closed(Cause::Replaced);
                }
                self.refused.remove(&tuple);
                self.awaited.pend(tuple);
            }
            Action::Resolve { tuple, host } => self.lookups.begin(tuple, host),
            Action::Expect { tuple, backend } => {
                let (_, key) = keys(tuple, backend.address, backend.source);
                self.awaited.expect(tuple, key);
            }
            Action::Unexpect { tuple, backend } => {
                let (_, key) = keys(tuple, backend.address, backend.source);
                self.awaited.unexpect(tuple, &key);
            }
            Action::Owe { tuple, owed } => self.debts.put_down(tuple, &owed),
            Action::ToClient { tuple, segment } => {
                log_send(self.transmit.v4(tuple.listen, tuple.client, &segment));
            }
            Action::ToBackend { tuple, backend, segment } => match self.refused.get(&tuple) {
                Some(&(_, delta)) => {
                    self.refuse(tuple, &backend, &segment, delta);
                }
                None => self.send_to_backend(tuple, &backend, &segment),
            },
            // Should there be no room, the next handshake finds the same.
            Action::Withdraw { tuple, promise } => {
                let _ = self.lessons.try_send((tuple.listen, Lesson::Lacks(promise)));
            }
            Action::Install { tuple, splice } => self.install(tuple, &splice),
            Action::Closing { tuple, sender, flags } => {
                self.flows.note_closing(tuple, sender, flags);
            }
            Action::Uninstall { tuple } => {
                if self.flows.remove(tuple) {
                    self.shared.tally.closed(Cause::BackendGone);
                }
            }
            Action::Finish { tuple, outcome, host, elapsed } => {
                self.finish(tuple, outcome, host.as_ref(), elapsed);
            }
        }
    }

    fn send_to_backend(&mut self, tuple: ClientTuple, backend: &Backend, segment: &Segment) {
        let from = SocketAddrV6::new(backend.source, tuple.client.port(), 0, 0);
        let index = self.shared.applied().tunnel_index(backend.site);
        let sent = index.map(|index| self.transmit.v6(from, backend.address, segment, index));
        // Anything else that is not sent is lost, as on any other broken path: what stands is not torn down for it.
        if segment.has(Flags::SYN) {
            self.unsent.tried(tuple, backend, sent.as_ref(), Instant::now());
        }
        if let Some(result) = sent {
            log_send(result);
        }
    }

    fn install(&mut self, tuple: ClientTuple, splice: &Splice) {
        let (_, backend_key) = keys(tuple, splice.backend.address, splice.backend.source);
        match self.flows.install(tuple, splice, boot_nanos()) {
            Ok(()) => {
                Tally::bump(&self.shared.tally.opened);
                self.learn_size(tuple.listen, splice);
                if splice.watch.is_some() {
                    self.awaited.watch(tuple, backend_key);
                }
            }
            Err(error) => {
                let outcome = match error {
                    InstallError::Full => Outcome::TableFull,
                    InstallError::Kernel(_) => Outcome::NotInstalled,
                };
                tracing::debug!(client = %tuple.client, host = %splice.host, "refused: {error}");
                self.refused.insert(tuple, (outcome, splice.delta()));
            }
        }
        self.awaited.settle_soon(tuple, backend_key);
    }

    fn learn_size(&self, listen: SocketAddrV4, splice: &Splice) {
        let backend = *splice.backend.address.ip();
        let takes = self.shared.announced.hear(backend, splice.announced, Instant::now());
        let applied = self.shared.applied();
        if applied.listeners.get(&listen).is_some_and(|port| is_news(&port.promise, takes)) {
            let _ = self.lessons.try_send((listen, Lesson::Takes(takes)));
        }
    }

    /// Resets both ends instead of sending `segment` to the backend: its numbers are those that the backend expects, and
    /// plus `delta` those that the client does.
    fn refuse(&mut self, tuple: ClientTuple, backend: &Backend, segment: &Segment, delta: u32) {
        let to_client = Segment::reset(segment.ack.plus(delta), Some(segment.seq));
        log_send(self.transmit.v4(tuple.listen, tuple.client, &to_client));
        self.send_to_backend(tuple, backend, &Segment::reset(segment.seq, None));
    }

    fn finish(
        &mut self,
        tuple: ClientTuple,
        outcome: Outcome,
        host: Option<&HostName>,
        elapsed: Option<Duration>,
    ) {
        self.debts.strike(tuple);
        self.awaited.end(tuple, outcome == Outcome::Spliced);
        let outcome = match self.refused.remove(&tuple) {
            Some((refusal, _)) => {
                self.handshakes.not_installed(tuple);
                refusal
            }
            None => outcome,
        };
        self.shared.tally.outcome(outcome);
        let (client, listen) = (tuple.client, tuple.listen);
        let name = host.map_or("-", HostName::as_str);
        if outcome == Outcome::Spliced {
            if let Some(elapsed) = elapsed {
                self.shared.handshake_seconds.observe(elapsed);
            }
            let elapsed = elapsed.map(tracing::field::debug);
            tracing::debug!(%client, %listen, host = name, elapsed, "spliced");
            return;
        }
        self.shared.refusals.note(host.map(HostName::as_str), outcome);
        if let Some(held_back) = self.ration.take(Instant::now()) {
            if held_back > 0 {
                tracing::info!(
                    "{held_back} more refusals were not logged; `ingressctl stats` counts them"
                );
            }
            tracing::info!(%client, %listen, host = name, outcome = outcome.as_str(), "refused");
        }
    }

    /// The backends to which the client's port is free; another connection there that is over gives way.
    pub(super) fn reachable(
        &mut self,
        tuple: ClientTuple,
        mut backends: Vec<Backend>,
    ) -> Result<Vec<Backend>, ResolveError> {
        let before = backends.len();
        backends.retain(|backend| {
            let (_, key) = keys(tuple, backend.address, backend.source);
            if self.awaited.expects(&key).is_some_and(|owner| owner != tuple) {
                return false;
            }
            match self.flows.make_way(tuple, &key) {
                Way::Free => true,
                Way::Cleared => {
                    self.shared.tally.closed(Cause::Replaced);
                    true
                }
                Way::Taken => false,
            }
        });
        if backends.is_empty() && before > 0 { Err(ResolveError::PortTaken) } else { Ok(backends) }
    }
}
