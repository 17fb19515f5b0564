//! The shield on the uplink, as [`ShieldControl`](crate::daemon::shield::ShieldControl) wants it.

use aya::programs::XdpMode;

use super::Reconciler;
use crate::{
    config::{Config, Xdp},
    control::Shield,
    netlink::Snapshot,
};

impl Reconciler {
    /// Puts the shield up or takes it down. Without it everything works, only with more effort.
    pub(super) fn set_shield(&mut self, config: &Config, network: &Snapshot) -> Shield {
        let uplink = network.links.get(config.uplink.interface.as_str());
        let wanted = self.shield.wanted(config.uplink.xdp);
        if let Some(link) = uplink.filter(|link| link.ethernet) {
            return self.put_up(wanted, config.uplink.xdp, link.index);
        }
        if wanted != Shield::Off && uplink.is_some() {
            tracing::warn!(
                "[uplink] xdp: the uplink has no Ethernet headers; SYNs are answered at tc"
            );
        }
        let _ = self.dataplane.set_shield(None);
        Shield::Off
    }

    /// What is in force then: `auto` makes do with the generic mode.
    fn put_up(&mut self, wanted: Shield, xdp: Xdp, index: u32) -> Shield {
        let on_uplink = |shield| mode(shield).map(|mode| (index, mode));
        let mut shield = wanted;
        let mut result = self.dataplane.set_shield(on_uplink(shield));
        if let Err(error) = &result
            && xdp == Xdp::Auto
            && shield == Shield::Native
        {
            tracing::warn!(
                "[uplink] xdp: no native mode here, so it is the generic one: {error:#}"
            );
            shield = self.shield.native_refused();
            result = self.dataplane.set_shield(on_uplink(shield));
        }
        if let Err(error) = result {
            tracing::error!("[uplink] xdp: SYNs are answered at tc: {error:#}");
            return Shield::Off;
        }
        shield
    }
}

fn mode(shield: Shield) -> Option<XdpMode> {
    match shield {
        Shield::Off => None,
        Shield::Native => Some(XdpMode::Driver),
        Shield::Generic => Some(XdpMode::Skb),
    }
}
