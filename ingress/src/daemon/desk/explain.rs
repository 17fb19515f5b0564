//! `explain`: the configuration's part of it, and what only the running daemon can say.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv6Addr, SocketAddrV6},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{net::TcpStream, time::timeout};

use super::{super::shared::Applied, Desk, state::sites};
use crate::{
    config::Config,
    control::{self, Attachment, Explanation, SiteStatus},
    handshake::Outcome,
};

/// A router takes three seconds to find out that a neighbour is not there (RFC 4861), and then says so.
const PATIENCE: Duration = Duration::from_secs(4);
/// Ports that are tried of one server.
const MOST_PORTS: usize = 8;
/// Servers that are tried at a time. ingressctl waits for half a minute, and each may take all of [`PATIENCE`].
const SERVERS_AT_ONCE: usize = 8;

impl Desk {
    /// What would happen to a client that asks for a name, up to its server's answer.
    pub(super) async fn explain(&self, name: &str) -> Explanation {
        let (config, applied) = (self.shared.config(), self.shared.applied());
        let (followed, backends) = control::explain(&config, &self.shared.resolver, name).await;
        let mut explanation = Explanation { name: followed.name, steps: Vec::new() };
        listen(&mut explanation, &config, &applied);
        explanation.steps.extend(followed.steps);
        if backends.is_empty() {
            return explanation;
        }
        let shared = self.shared.clone();
        let read = move || sites(&shared, &shared.config());
        let sites = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        for site in backends.iter().map(|(_, site)| *site).collect::<BTreeSet<_>>() {
            if let Some(site) = sites.get(site) {
                tunnel(&mut explanation, site);
            }
        }
        let ports: BTreeSet<u16> = applied.listeners.keys().map(|listen| listen.port()).collect();
        for some in backends.chunks(SERVERS_AT_ONCE) {
            let answers = some.iter().map(|(address, _)| server(*address, &ports));
            for (ok, outcome) in join_all(answers).await {
                explanation.push(ok, "server", outcome);
            }
        }
        if explanation.ok() {
            let outcome = format!("the server sees the client's address inside {}", config.nat46);
            explanation.push(true, "connection", outcome);
        }
        explanation
    }
}

fn listen(explanation: &mut Explanation, config: &Config, applied: &Applied) {
    let mut addresses: Vec<String> = applied
        .listeners
        .iter()
        .map(|(address, listening)| format!("{address} ({})", listening.protocol))
        .collect();
    addresses.sort();
    let uplink = &config.uplink.interface;
    let attached = applied.uplink.as_ref().is_some_and(|it| it.attachment != Attachment::None);
    if !attached {
        explanation.push(false, "listen", format!("no program is attached to {uplink}"));
    } else if addresses.is_empty() {
        let outcome = format!("{uplink} has no IPv4 address, so nothing is listened on");
        explanation.push(false, "listen", outcome);
    } else {
        explanation.push(true, "listen", addresses.join(", "));
    }
}

fn tunnel(explanation: &mut Explanation, site: &SiteStatus) {
    let name = &site.interface.name;
    if site.interface.attachment == Attachment::None {
        let gets = Outcome::BackendUnreachable.client_gets();
        let outcome = format!("{name} does not exist or has no program: the client gets {gets}");
        explanation.push(false, "tunnel", outcome);
    } else if site.wireguard && site.last_handshake_timestamp_seconds.is_none() {
        let outcome = format!(
            "{name} never had a WireGuard handshake with {}: the client gets {}; see `ingressctl doctor`",
            site.name,
            Outcome::BackendUnreachable.client_gets()
        );
        explanation.push(false, "tunnel", outcome);
    } else {
        explanation.push(true, "tunnel", format!("{name} is there"));
    }
}

/// Whether a server answers, and how. Asks from this machine's own address, since no connection of a client is at
/// hand. A home may let only the NAT46 prefix in, so that silence proves nothing.
async fn server(address: Ipv6Addr, ports: &BTreeSet<u16>) -> (bool, String) {
    let (mut open, mut closed, mut unreachable) = (Vec::new(), Vec::new(), None);
    let attempts = ports.iter().take(MOST_PORTS).map(|port| async move {
        let to = SocketAddrV6::new(address, *port, 0, 0);
        (*port, timeout(PATIENCE, TcpStream::connect(to)).await)
    });
    for (port, attempt) in join_all(attempts).await {
        match attempt {
            Ok(Ok(_)) => open.push(port.to_string()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                closed.push(port.to_string());
            }
            Ok(Err(error)) => unreachable = Some(error),
            Err(_) => {}
        }
    }
    match (open.is_empty(), closed.is_empty(), unreachable) {
        (false, _, _) => (true, format!("{address} accepts connections to {}", open.join(", "))),
        (true, false, _) => {
            let (ports, gets) = (closed.join(", "), Outcome::BackendRefused.client_gets());
            let outcome = format!(
                "{address} refuses {ports}: the client gets {gets}; start the server there"
            );
            (false, outcome)
        }
        (true, true, Some(error)) => {
            let gets = Outcome::BackendUnreachable.client_gets();
            (false, format!("{address} cannot be reached: {error}; the client gets {gets}"))
        }
        (true, true, None) => {
            let outcome = format!(
                "{address} does not answer this machine; a client it may answer, if its firewall lets only \
                 those in"
            );
            (true, outcome)
        }
    }
}
