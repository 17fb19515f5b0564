//! Keeps programs and tables in step with the network and the configuration.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use ingress_common::maps::{ASK_KERNEL, MAX_LISTENERS, Route};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

mod attachments;
mod lessons;
mod reload;
mod shield;
mod sizes;

pub use lessons::Lesson;
pub use reload::{Refused, Reload};
pub use sizes::is_news;

use super::{
    clock::boot_nanos,
    plan::{Known, Plan, plan},
    shared::{Applied, Shared},
    shield::ShieldControl,
};
use crate::{
    config::{Config, Policy},
    dataplane::{Claim, Counters, Dataplane, NetworkTables},
    netlink::{Netlink, Snapshot},
    policy::compile,
};
use sizes::Sizes;

/// Changes of the network come in bursts; one look after the burst serves them all.
const SETTLE: Duration = Duration::from_millis(50);
/// A look without a reason, should a message have been lost.
const AT_LEAST_EVERY: Duration = Duration::from_secs(30);

/// The task that keeps programs and tables in step.
pub struct Reconciler {
    claim: Claim,
    dataplane: Dataplane,
    maps: NetworkTables,
    netlink: Netlink,
    counters: Arc<Counters>,
    /// What is in force, once this daemon has looked.
    policy: Option<Policy>,
    shield: ShieldControl,
    sizes: Sizes,
    /// Interfaces that were not there at the last look.
    missing: HashSet<String>,
    shared: Arc<Shared>,
}

impl Reconciler {
    /// Puts the task together; nothing is changed yet.
    pub fn new(
        claim: Claim,
        dataplane: Dataplane,
        maps: NetworkTables,
        netlink: Netlink,
        counters: Arc<Counters>,
        shared: Arc<Shared>,
    ) -> Self {
        let (policy, missing) = (None, HashSet::new());
        let (shield, sizes) = (ShieldControl::default(), Sizes::default());
        Self { claim, dataplane, maps, netlink, counters, policy, shield, sizes, missing, shared }
    }

    /// Follows the network, answers reloads, and takes promises back.
    ///
    /// # Errors
    /// Where the netlink connection ends.
    pub async fn run(
        mut self,
        mut reloads: mpsc::Receiver<Reload>,
        mut lessons: mpsc::Receiver<(SocketAddrV4, Lesson)>,
    ) -> Result<()> {
        let mut due = Instant::now() + AT_LEAST_EVERY;
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.netlink.changed() => {
                    changed?;
                    due = due.min(Instant::now() + SETTLE);
                }
                () = sleep_until(due) => {
                    if let Err(error) = self.reconcile().await {
                        tracing::error!("the network has changed, but: {error:#}");
                    }
                    due = Instant::now() + AT_LEAST_EVERY;
                }
                _ = second.tick(), if ShieldControl::watches(self.shared.config().uplink.xdp) => {
                    if self.shield.turns(self.shared.config().uplink.xdp, &self.counters) {
                        due = Instant::now();
                    }
                }
                Some((listen, lesson)) = lessons.recv() => {
                    if let Err(error) = self.learn(listen, lesson).await {
                        tracing::error!(%listen, "what is promised there stays promised: {error:#}");
                    }
                }
                Some(answer) = reloads.recv() => {
                    let result = self.reload().await;
                    match &result {
                        Ok(changes) => tracing::info!(?changes, "configuration reloaded"),
                        Err(refused) => tracing::error!("{}", refused.message),
                    }
                    let refused = result.as_ref().err();
                    self.shared.note_reload(refused.map(|refused| refused.message.clone()));
                    let _ = answer.send(result);
                }
            }
        }
    }

    /// Looks at the network and makes everything match.
    ///
    /// # Errors
    /// Where a table or an attachment is refused. What could be done has been done.
    pub async fn reconcile(&mut self) -> Result<()> {
        let config = self.shared.config();
        let looked = async {
            let network = self.netlink.snapshot().await?;
            let mut known = self.maps.listeners.list()?;
            self.sizes.recall(&mut known, Instant::now());
            self.apply(&config, &network, &known)
        };
        looked.await.inspect_err(|_| self.distrust())
    }

    /// Who does not know the network sends nobody to where it led: the kernel is asked for each packet.
    fn distrust(&mut self) {
        if let Err(error) = self.maps.next_hops.distrust() {
            tracing::error!("packets may go to a router that is no more: {error:#}");
        }
    }

    /// Routers before the routes that lead to them, and routers that are no more at last.
    fn set_routes(&mut self, plan: &Plan) -> Result<()> {
        let numbers = self.maps.next_hops.number(plan.next_hops.routers())?;
        let number = |router: IpAddr| numbers.get(&router).copied().unwrap_or(ASK_KERNEL);
        let routes = plan.routes.iter().map(|(net, route)| {
            let router = plan.next_hops.v6.get(net);
            let next_hop = router.map_or(ASK_KERNEL, |router| number((*router).into()));
            (*net, Route { next_hop, ..*route })
        });
        self.maps.routes.replace(&routes.collect())?;
        let routes4 = plan.next_hops.v4.iter().map(|(net, router)| {
            (*net, u32::from(router.map_or(ASK_KERNEL, |router| number(router.into()))))
        });
        self.maps.routes4.replace(&routes4.collect())?;
        self.maps.next_hops.forget_others(&numbers)
    }

    fn apply(&mut self, config: &Config, network: &Snapshot, known: &Known) -> Result<()> {
        // What is carried now is carried on without pins; only the next daemon would miss them.
        if let Err(error) = self.claim.keep().and_then(|()| self.dataplane.keep_pinned()) {
            tracing::error!("flows would not survive a restart: {error:#}");
        }
        let names: Vec<&str> = config.sites.iter().map(|site| site.name.as_str()).collect();
        let numbers = self.maps.site_names.assign(&names)?;
        let plan = plan(config, &numbers, network, known);
        // Rules before routes, that no new address is open for a moment.
        self.set_policy(&config.policy)?;
        // Tables before programs: whoever looks up finds.
        self.maps.devices.set_sites(&plan.sites)?;
        self.maps.devices.set_uplink(plan.uplink)?;
        // Routes or ports that find no room are no reason to leave the rest undone.
        let routed = self.set_routes(&plan);
        if plan.unlisted > 0 {
            tracing::error!(
                "{} pairs of address and port find no room, since only {MAX_LISTENERS} can be listed: list fewer ports, \
                 or name the addresses in [[listen]] address",
                plan.unlisted
            );
        }
        self.maps.listeners.replace(&plan.listeners())?;
        let (uplink, tunnels) = self.attach_all(config, network);
        let shield = self.set_shield(config, network);
        self.shared.set_applied(Applied {
            uplink: Some(uplink),
            shield,
            native_is_lost: self.shield.native_is_lost(config.uplink.xdp),
            sites: config.sites.clone(),
            tunnels,
            site_numbers: numbers,
            listeners: plan.listening,
        });
        self.detach_others(config);
        routed
    }

    fn set_policy(&mut self, policy: &Policy) -> Result<()> {
        if self.policy.as_ref() != Some(policy) {
            let changed = self.maps.policy.replace(&compile(policy)?, boot_nanos())?;
            tracing::debug!(changed, "the policy is in force");
            self.policy = Some(policy.clone());
        }
        Ok(())
    }
}
