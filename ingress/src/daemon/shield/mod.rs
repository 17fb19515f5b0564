//! What the shield is to do: as the configuration says, or as the counters of cookies do.

mod flood;
mod native;

use ingress_common::verdict::Cookie;

use flood::FloodWatch;
use native::NativeTrial;

use crate::{config::Xdp, control::Shield, dataplane::Counters};

/// Decides once a second whether the shield is up, and in which mode.
#[derive(Debug, Default)]
pub struct ShieldControl {
    /// Decides where the configuration says `auto`.
    flood: FloodWatch,
    /// What the flood watch wants.
    by_flood: Shield,
    /// Decides where the configuration says `native`.
    trial: NativeTrial,
}

impl ShieldControl {
    /// Where SYNs are to be answered now.
    pub fn wanted(&self, xdp: Xdp) -> Shield {
        match xdp {
            Xdp::Off => Shield::Off,
            Xdp::Generic => Shield::Generic,
            Xdp::Native => self.trial.shield(),
            Xdp::Auto => self.by_flood,
        }
    }

    /// Whether native mode was asked for and given up.
    pub fn native_is_lost(&self, xdp: Xdp) -> bool {
        xdp == Xdp::Native && self.trial.is_lost()
    }

    /// Whether there is anything to decide.
    pub fn watches(xdp: Xdp) -> bool {
        matches!(xdp, Xdp::Auto | Xdp::Native)
    }

    /// The driver has no native mode: what `auto` does then.
    pub fn native_refused(&mut self) -> Shield {
        self.by_flood = self.flood.native_refused();
        self.by_flood
    }

    /// Whether the last second has changed what the shield is to do.
    pub fn turns(&mut self, xdp: Xdp, counters: &Counters) -> bool {
        match xdp {
            Xdp::Auto => self.flood_turns(counters),
            Xdp::Native => self.trial_turns(counters),
            Xdp::Off | Xdp::Generic => false,
        }
    }

    fn flood_turns(&mut self, counters: &Counters) -> bool {
        let count = |result| counters.cookies(result);
        let returned =
            [Cookie::Acknowledged, Cookie::Reopened, Cookie::Accepted].map(count).iter().sum();
        let wanted = self.flood.observe(count(Cookie::Sent), returned);
        let was = std::mem::replace(&mut self.by_flood, wanted);
        match (was, wanted) {
            (Shield::Off, Shield::Generic | Shield::Native) => {
                tracing::warn!("a SYN flood: the shield goes up");
            }
            (Shield::Generic | Shield::Native, Shield::Off) => {
                tracing::warn!("the flood is over: the shield comes down");
            }
            (Shield::Native, Shield::Generic) => tracing::warn!(
                "what the shield answers in native mode does not get out by the uplink: it goes on in generic mode"
            ),
            (Shield::Generic, Shield::Native) => tracing::info!("the shield tries native mode"),
            (Shield::Off, Shield::Off)
            | (Shield::Generic, Shield::Generic)
            | (Shield::Native, Shield::Native) => return false,
        }
        true
    }

    fn trial_turns(&mut self, counters: &Counters) -> bool {
        let was = (self.trial.shield(), self.trial.is_lost());
        let count = |result| counters.cookies(result);
        self.trial.observe(count(Cookie::Sent), count(Cookie::Acknowledged));
        let is = (self.trial.shield(), self.trial.is_lost());
        match (was, is) {
            ((_, false), (_, true)) => tracing::warn!(
                "[uplink] xdp: what the shield answers in native mode does not get out by the uplink: no client came \
                 back in it, and in generic mode they do. It goes on in generic mode; set xdp = \"generic\" or \"auto\""
            ),
            ((Shield::Native, _), (Shield::Generic, _)) => tracing::warn!(
                "[uplink] xdp: SYNs are answered in native mode and no client comes back: trying generic mode"
            ),
            ((Shield::Generic, _), (Shield::Native, _)) => {
                tracing::info!("[uplink] xdp: back to native mode");
            }
            ((Shield::Native, _), (Shield::Native, _))
            | ((Shield::Generic, _), (Shield::Generic, _))
            | ((Shield::Off, _), _)
            | (_, (Shield::Off, _)) => return false,
        }
        true
    }
}
