//! The configuration read again while everything runs.

use ipnet::Ipv6Net;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{Reconciler, sizes::Sizes};
use crate::{config::Config, control::ErrorKind, daemon::plan::Known};

/// A request to read the configuration again: what has changed, or why nothing has.
pub type Reload = oneshot::Sender<Result<Vec<String>, Refused>>;

/// Why the old configuration stays in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whether the new configuration is to blame.
    pub kind: ErrorKind,
    /// What to tell the operator.
    pub message: String,
}

impl Refused {
    fn wrong(reason: impl ToString) -> Self {
        Self { kind: ErrorKind::Configuration, message: reason.to_string() }
    }

    fn failed(error: &anyhow::Error) -> Self {
        Self {
            kind: ErrorKind::Failed,
            message: format!("the old configuration stays in force: {error:#}"),
        }
    }
}

impl Reconciler {
    /// Reads the configuration again and puts it in force, whole or not at all.
    pub(super) async fn reload(&mut self) -> Result<Vec<String>, Refused> {
        let old = self.shared.config();
        let path = self.shared.path.clone();
        // The one thread for everything else is not to wait for a file system.
        let read = spawn_blocking(move || Config::load(&path)).await;
        let new = read.map_err(|error| Refused::failed(&error.into()))?.map_err(Refused::wrong)?;
        fixed(&old, &new).map_err(Refused::wrong)?;
        let changes = changes(&old, &new);
        let failed = |error| Refused::failed(&error);
        let network = self.netlink.snapshot().await.map_err(failed)?;
        // What was withdrawn or lowered is promised again: the operator may have mended what was missing.
        let known = self.maps.listeners.list().map_err(failed)?;
        let shield = (old.uplink != new.uplink).then(|| std::mem::take(&mut self.shield));
        if let Err(error) = self.apply(&new, &network, &Known::new()) {
            // Back to what worked.
            if let Some(shield) = shield {
                self.shield = shield;
            }
            if self.apply(&old, &network, &known).is_err() {
                self.distrust();
            }
            return Err(failed(error));
        }
        self.sizes = Sizes::default();
        self.shared.announced.forget();
        self.shared.resolver.update(&new.dns, &new.hosts);
        self.shared.set_config(new);
        Ok(changes)
    }
}

/// What a running daemon cannot change.
fn fixed(old: &Config, new: &Config) -> Result<(), String> {
    let refuse = |what: &str| {
        Err(format!("{what} cannot change while ingressd runs; restart it (flows go on meanwhile)"))
    };
    if old.daemon != new.daemon {
        return refuse("[daemon]");
    }
    if old.control != new.control {
        return refuse("[control] socket");
    }
    if old.metrics != new.metrics {
        return refuse("[metrics] listen");
    }
    Ok(())
}

fn changes(old: &Config, new: &Config) -> Vec<String> {
    let hint = (old.nat46 != new.nat46).then(|| {
        format!(
            "answers to {} are no longer ours: end its connections with `ingressctl flows kill --all`",
            old.nat46
        )
    });
    let held = |net: &&Ipv6Net| {
        new.sites.iter().flat_map(|site| &site.prefixes).any(|it| it.contains(*net))
    };
    let lost = old.sites.iter().flat_map(|site| &site.prefixes).filter(|net| !held(net));
    let hints = hint.into_iter().chain(lost.map(|net| {
        format!(
            "no site has all of {net} any more; the rest of it gets no answers: `ingressctl flows --backend {net}`"
        )
    }));
    let parts = [
        ("uplink", old.uplink != new.uplink),
        ("sites", old.sites != new.sites),
        ("nat46 prefix", old.nat46 != new.nat46),
        ("listeners", old.listen != new.listen),
        ("dns", old.dns != new.dns),
        ("hosts", old.hosts != new.hosts),
        ("policy", old.policy != new.policy),
    ];
    parts
        .iter()
        .filter(|(_, differs)| *differs)
        .map(|(part, _)| format!("{part} changed"))
        .chain(hints)
        .collect()
}
