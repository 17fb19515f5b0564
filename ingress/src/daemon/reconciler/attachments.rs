//! Which interfaces carry a program of ours.

use std::iter::once;

use super::Reconciler;
use crate::{
    config::Config,
    control::{Attachment, Interface},
    dataplane::Hook,
    netlink::{Link, Snapshot},
};

impl Reconciler {
    /// Attaches to the uplink and to each site's tunnel.
    pub(super) fn attach_all(
        &mut self,
        config: &Config,
        network: &Snapshot,
    ) -> (Interface, Vec<Interface>) {
        let mut attach =
            |name: &str, hook: fn(bool) -> Hook| self.attach(name, network.links.get(name), hook);
        let uplink = config.uplink.interface.as_str();
        let uplink = attach(uplink, |ethernet| Hook::Uplink { ethernet });
        let tunnels = config
            .sites
            .iter()
            .map(|site| attach(site.interface.as_str(), |ethernet| Hook::Tunnel { ethernet }));
        (uplink, tunnels.collect())
    }

    /// Takes our programs off interfaces that the configuration does not name.
    pub(super) fn detach_others(&mut self, config: &Config) {
        let tunnels = config.sites.iter().map(|site| site.interface.as_str());
        let wanted: Vec<&str> = once(config.uplink.interface.as_str()).chain(tunnels).collect();
        self.missing.retain(|interface| wanted.contains(&interface.as_str()));
        for interface in self.dataplane.interfaces() {
            if !wanted.contains(&interface.as_str()) {
                tracing::info!(interface, "no longer configured: detached");
                self.dataplane.detach(&interface);
            }
        }
    }

    /// Attaches, unless it is attached already. An interface that cannot be attached now is tried again
    /// with the next look.
    fn attach(&mut self, name: &str, link: Option<&Link>, hook: fn(bool) -> Hook) -> Interface {
        let mut interface = Interface {
            name: name.to_owned(),
            index: link.map(|link| link.index),
            mtu: link.map(|link| link.mtu),
            attachment: Attachment::None,
        };
        let Some(link) = link else {
            self.dataplane.forget(name);
            if self.missing.insert(name.to_owned()) {
                tracing::warn!(
                    interface = name,
                    "it is not there; it is attached to when it comes"
                );
            }
            return interface;
        };
        if self.missing.remove(name) {
            tracing::info!(interface = name, "it is there now");
        }
        match self.dataplane.attach(name, link.index, hook(link.ethernet)) {
            Ok(attached) => interface.attachment = attached.how,
            Err(error) => tracing::error!("{error:#}"),
        }
        interface
    }
}
