//! What a scrape by Prometheus takes from the daemon.

use std::collections::HashMap;

use super::{
    Desk,
    listing::open_maps,
    state::{capacity, sites},
};
use crate::{
    config::Protocol,
    control::{FlowState, FlowTable},
    metrics::{FlowCount, Page, Sample, Source},
};

impl Source for Desk {
    fn sample(&self) -> Sample {
        let mut kinds: HashMap<(Protocol, FlowState), u64> = HashMap::new();
        for (protocol, count) in self.shared.tally.handshakes() {
            kinds.insert((protocol, FlowState::Handshake), count);
        }
        let mut entries = 0;
        let applied = self.shared.applied();
        if let Ok(maps) = open_maps(&self.shared) {
            for flow in maps.flows() {
                entries += 1;
                let protocol = applied.protocol(flow.tuple.listen);
                *kinds.entry((protocol, flow.state())).or_default() += 1;
            }
        }
        let config = self.shared.config();
        Sample {
            stats: self.stats(),
            drops: self.drops(),
            flows: kinds
                .into_iter()
                .map(|((protocol, state), count)| FlowCount { protocol, state, count })
                .collect(),
            flow_table: FlowTable { entries, max_entries: capacity(&self.shared) },
            sites: sites(&self.shared, &config),
            config_last_reload_successful: self.shared.last_reload().error.is_none(),
        }
    }

    fn page(&self) -> Page {
        self.draw()
    }
}
