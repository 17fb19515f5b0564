//! Flows whose time is over.

use std::sync::Arc;

use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use super::Core;
use crate::{
    daemon::{clock::boot_nanos, shared::Shared},
    dataplane::{FlowMaps, Pins},
    flows::{Closings, Finding, Survey},
};

/// Walks through the flow table, one at a time and off the engine's thread: a large table takes longer than a
/// handshake may wait.
pub(super) struct Surveys {
    /// The last one, or the one under way.
    last: Option<JoinHandle<()>>,
    findings: mpsc::Sender<Finding>,
    elsewhere: Handle,
    shared: Arc<Shared>,
}

impl Surveys {
    /// None yet. They are made by threads of `elsewhere`, and found out about at the receiver.
    pub(super) fn new(elsewhere: Handle, shared: Arc<Shared>) -> (Self, mpsc::Receiver<Finding>) {
        let (findings, found) = mpsc::channel(1);
        (Self { last: None, findings, elsewhere, shared }, found)
    }

    /// Starts another one, unless one is under way. The first also looks for what an earlier daemon's crash may have
    /// left. `closings` are the closing marks that stand in no entry.
    pub(super) fn start(&mut self, closings: &Closings) {
        if self.last.as_ref().is_some_and(|survey| !survey.is_finished()) {
            return;
        }
        let (findings, shared) = (self.findings.clone(), self.shared.clone());
        let (first, closings) = (self.last.is_none(), closings.clone());
        self.last = Some(self.elsewhere.spawn_blocking(move || {
            let maps = Pins::open(&shared.config().daemon.bpffs)
                .and_then(|pins| FlowMaps::open(pins.maps()));
            match maps {
                Ok(maps) => {
                    let survey = Survey::of(&maps, &closings, boot_nanos());
                    let survey = if first { survey.with_orphans(&maps) } else { survey };
                    let _ = survey.findings().try_for_each(|found| findings.blocking_send(found));
                }
                Err(error) => tracing::error!("flows cannot be looked through: {error:#}"),
            }
        }));
    }
}

impl Core {
    pub(super) fn on_finding(&mut self, finding: &Finding) {
        for (flow, cause) in self.flows.sweep(finding, boot_nanos()) {
            self.shared.tally.closed(cause);
            let client = flow.tuple.client;
            tracing::debug!(%client, cause = cause.as_str(), "a flow has ended");
        }
    }
}
