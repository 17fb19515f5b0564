//! Flows whose time is over.

use super::Core;
use crate::{
    daemon::clock::boot_nanos,
    dataplane::{FlowMaps, Pins},
    flows::Survey,
};

impl Core {
    /// Looking through a large table takes longer than a handshake may wait.
    pub(super) fn start_survey(&self) {
        let (results, shared) = (self.survey_results.clone(), self.shared.clone());
        self.elsewhere.spawn_blocking(move || {
            let maps = Pins::open(&shared.config().daemon.bpffs)
                .and_then(|pins| FlowMaps::open(pins.maps()));
            match maps {
                Ok(maps) => {
                    let _ = results.blocking_send(Survey::of(&maps, boot_nanos()));
                }
                Err(error) => tracing::error!("flows cannot be looked through: {error:#}"),
            }
        });
    }

    pub(super) fn on_survey(&mut self, survey: &Survey) {
        for (flow, cause) in self.flows.sweep(survey, boot_nanos()) {
            self.shared.tally.closed(cause);
            let client = flow.tuple.client;
            tracing::debug!(%client, cause = cause.as_str(), "a flow has ended");
        }
    }
}
