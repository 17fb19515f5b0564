//! Names that handshakes ask for, looked up: at once where the answer is known, on another thread otherwise.

use std::{net::SocketAddrV6, sync::Arc};

use ingress_common::{ip::IPV6_LEAST_MTU, tcp::HEADERS_V6};
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    daemon::shared::Shared,
    dns::{Answer, LookupError, select},
    handshake::{Backend, ClientTuple, ResolveError},
    host_name::HostName,
};

/// Who asked for which name, and where it leads.
pub(super) type Resolved = (ClientTuple, HostName, Result<Vec<Backend>, ResolveError>);

pub(super) struct Lookups {
    /// Answered from memory, until the actions before them are done.
    answered: Vec<Resolved>,
    /// Where the others are answered.
    resolved: mpsc::UnboundedSender<Resolved>,
    elsewhere: Handle,
    shared: Arc<Shared>,
}

impl Lookups {
    /// None yet. What is not known is asked for by tasks on `elsewhere`, which answer to the receiver.
    pub(super) fn new(
        elsewhere: Handle,
        shared: Arc<Shared>,
    ) -> (Self, mpsc::UnboundedReceiver<Resolved>) {
        let (resolved, answers) = mpsc::unbounded_channel();
        (Self { answered: Vec::new(), resolved, elsewhere, shared }, answers)
    }

    /// A name that is known needs no task, which would be a way to another thread and back.
    pub(super) fn begin(&mut self, tuple: ClientTuple, host: HostName) {
        // Nobody is asked about a name that is to lead nowhere.
        let lets_through = self.shared.config().policy.rule_on(&host).lets_through();
        let known = if lets_through { self.shared.resolver.known(&host) } else { None };
        if !lets_through {
            self.answered.push((tuple, host, Err(ResolveError::Denied)));
        } else if let Some(answer) = known {
            let result = backends(&self.shared, tuple, &host, answer);
            self.answered.push((tuple, host, result));
        } else {
            let (shared, resolved) = (self.shared.clone(), self.resolved.clone());
            self.elsewhere.spawn(async move {
                let answer = shared.resolver.lookup_for(*tuple.client.ip(), &host).await;
                let result = backends(&shared, tuple, &host, answer);
                let _ = resolved.send((tuple, host, result));
            });
        }
    }

    /// An answer from memory.
    pub(super) fn next_answered(&mut self) -> Option<Resolved> {
        self.answered.pop()
    }
}

/// The servers at a name's addresses, in the order in which to try them.
fn backends(
    shared: &Shared,
    tuple: ClientTuple,
    host: &HostName,
    answer: Answer,
) -> Result<Vec<Backend>, ResolveError> {
    let addresses = answer.map_err(|error| match error {
        LookupError::NotFound => ResolveError::NotFound,
        LookupError::Failed(reason) => {
            tracing::debug!(%host, "cannot be looked up: {reason}");
            ResolveError::Failed
        }
    })?;
    let applied = shared.applied();
    let inside = select(&addresses, &applied.sites).map_err(|_| ResolveError::OutsidePrefixes)?;
    let source = shared.config().nat46.embed(tuple.client.ip().octets()).into();
    let backends = inside.into_iter().filter_map(|(address, site)| {
        let mtu = applied.tunnels.get(site)?.mtu.unwrap_or(IPV6_LEAST_MTU);
        Some(Backend {
            address: SocketAddrV6::new(address, tuple.listen.port(), 0, 0),
            source,
            site: *applied.site_numbers.get(site)?,
            mss_limit: u16::try_from(mtu.saturating_sub(HEADERS_V6)).unwrap_or(u16::MAX),
        })
    });
    Ok(backends.collect())
}
