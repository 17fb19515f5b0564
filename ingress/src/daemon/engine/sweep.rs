//! Flows whose time is over.

use super::Core;
use crate::{
    daemon::clock::boot_nanos,
    dataplane::{FlowMaps, Pins},
    flows::{Finding, Survey},
};

impl Core {
    /// Looking through a large table takes longer than a handshake may wait. What an earlier daemon's crash may have left
    /// is looked for once.
    pub(super) fn start_survey(&mut self) {
        if self.survey.as_ref().is_some_and(|survey| !survey.is_finished()) {
            return;
        }
        let (results, shared) = (self.findings.clone(), self.shared.clone());
        let first = self.survey.is_none();
        self.survey = Some(self.elsewhere.spawn_blocking(move || {
            let maps = Pins::open(&shared.config().daemon.bpffs)
                .and_then(|pins| FlowMaps::open(pins.maps()));
            match maps {
                Ok(maps) => {
                    let survey = Survey::of(&maps, boot_nanos());
                    let survey = if first { survey.with_orphans(&maps) } else { survey };
                    let _ = survey.findings().try_for_each(|found| results.blocking_send(found));
                }
                Err(error) => tracing::error!("flows cannot be looked through: {error:#}"),
            }
        }));
    }

    pub(super) fn on_finding(&mut self, finding: &Finding) {
        for (flow, cause) in self.flows.sweep(finding, boot_nanos()) {
            self.shared.tally.closed(cause);
            let client = flow.tuple.client;
            tracing::debug!(%client, cause = cause.as_str(), "a flow has ended");
        }
    }
}
