//! The engine: upcalls in, handshakes driven, flows installed. It owns every map that a handshake touches
//! and gives the programs their sign of life, so that a stuck engine is an absent one.

use std::{collections::HashMap, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use aya::maps::{MapData, RingBuf};
use ingress_common::{
    addr::Nat46Prefix,
    cookie,
    maps::{BackendKey, CookieKeys},
    tcp::{Flags, Seq},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Duration, MissedTickBehavior, interval, sleep_until},
};

use super::{
    clock::boot_nanos,
    keys,
    shared::{Shared, Tally},
};
use crate::{
    dataplane::{FlowMaps, Marks, Pins, Secrets},
    dns::{LookupError, select},
    flows::{Cause, FlowTable, InstallError, Survey, client_key, keys},
    handshake::{
        Action, Admission, Backend, ClientTuple, Event, Handshakes, Limits, Outcome, Protocol,
        ResolveError, Segment, Splice,
    },
    sni::HostName,
    transmit::Transmit,
    upcall::{FromKernel, Upcalls},
    wire::Addressed,
};

mod icmp;

/// The programs take a daemon for gone after three of these.
const BEAT: Duration = Duration::from_secs(1);
/// How often flows are looked through for those whose time is over.
const SWEEP: Duration = Duration::from_secs(20);
/// Upcalls taken in one go, between which everything else gets its turn.
const BATCH: usize = 128;

/// What others may ask of the engine.
pub enum Request {
    /// The handshakes in progress.
    Handshakes(oneshot::Sender<Vec<Handshake>>),
    /// How many flows there are.
    FlowCount(oneshot::Sender<u64>),
    /// End these flows; how many there were.
    Kill(Vec<ClientTuple>, oneshot::Sender<u64>),
}

/// A handshake in progress, for `ingressctl flows`.
pub struct Handshake {
    /// Whose.
    pub tuple: ClientTuple,
    /// The name, once known.
    pub host: Option<String>,
    /// The backend that is being tried.
    pub backend: Option<Backend>,
    /// How long it has taken so far.
    pub age: Duration,
}

type Resolved = (ClientTuple, HostName, Result<Vec<Backend>, ResolveError>);

/// The task.
pub struct Engine {
    upcalls: Upcalls,
    desk: Desk,
    inbox: mpsc::Receiver<Request>,
    resolved: mpsc::UnboundedReceiver<Resolved>,
    surveys: mpsc::Receiver<Survey>,
}

/// Everything but the sources of events.
struct Desk {
    handshakes: Handshakes,
    actions: Vec<Action>,
    marks: Marks,
    secrets: Secrets,
    keys: CookieKeys,
    flows: FlowTable,
    transmit: Transmit,
    /// Whose answer a backend's packet is.
    expected: HashMap<BackendKey, ClientTuple>,
    /// Whose owed octets a backend's acknowledgment covers.
    watched: HashMap<BackendKey, ClientTuple>,
    /// The tuple whose flow found no room, for the rest of its actions.
    refused: Option<ClientTuple>,
    resolutions: mpsc::UnboundedSender<Resolved>,
    survey_results: mpsc::Sender<Survey>,
    shared: Arc<Shared>,
}

impl Engine {
    /// Takes over the maps. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or where the maps cannot be read.
    pub fn new(
        upcalls: RingBuf<MapData>,
        mut marks: Marks,
        secrets: Secrets,
        flows: FlowMaps,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Request>,
    ) -> Result<Self> {
        marks.clear()?;
        let (resolutions, resolved) = mpsc::unbounded_channel();
        let (survey_results, surveys) = mpsc::channel(1);
        let desk = Desk {
            handshakes: Handshakes::new(Limits::default()),
            actions: Vec::new(),
            marks,
            keys: secrets.keys()?,
            secrets,
            flows: FlowTable::open(flows),
            transmit: Transmit::open().context(
                "open raw sockets; ingressd needs CAP_NET_RAW to speak for clients and backends",
            )?,
            expected: HashMap::new(),
            watched: HashMap::new(),
            refused: None,
            resolutions,
            survey_results,
            shared,
        };
        let upcalls = Upcalls::new(upcalls).context("watch the ring buffer")?;
        Ok(Self { upcalls, desk, inbox, resolved, surveys })
    }

    /// A sign of life for the programs, and fresh keys where they are due.
    ///
    /// # Errors
    /// Where the maps cannot be written.
    pub fn beat(&mut self) -> Result<()> {
        self.desk.beat()
    }

    /// Runs until it cannot.
    ///
    /// # Errors
    /// Where the maps cannot be read or written any more.
    pub async fn run(mut self) -> Result<()> {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::with_capacity(BATCH);
        loop {
            let timeout = self.desk.handshakes.next_timeout();
            tokio::select! {
                read = self.upcalls.read(&mut events, BATCH) => {
                    read.context("read the ring buffer")?;
                    for event in events.drain(..) {
                        self.desk.on_upcall(event);
                    }
                }
                Some((tuple, host, result)) = self.resolved.recv() => {
                    self.desk.on_event(Event::Resolved { tuple, host, result });
                }
                () = sleep_until(timeout.unwrap_or_else(far).into()), if timeout.is_some() => {
                    self.desk.on_timeout();
                }
                Some(request) = self.inbox.recv() => self.desk.on_request(request),
                Some(survey) = self.surveys.recv() => self.desk.on_survey(&survey),
                _ = beat.tick() => self.desk.beat()?,
                _ = sweep.tick() => self.desk.start_survey(),
            }
        }
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

impl Desk {
    fn beat(&mut self) -> Result<()> {
        let now = boot_nanos();
        if let Some(keys) = keys::due(&self.keys, now)? {
            self.secrets.set_keys(keys)?;
            self.keys = keys;
        }
        self.secrets.beat(now)
    }

    fn on_upcall(&mut self, upcall: FromKernel) {
        match upcall {
            FromKernel::Client(packet) => self.on_client(packet),
            FromKernel::Backend(packet) => {
                if let Some(tuple) = self.expected.get(&backend_key(&packet)).copied() {
                    let Addressed { source: from, segment, .. } = packet;
                    self.on_event(Event::Backend { tuple, from, segment });
                }
            }
            FromKernel::Acknowledged(packet) => {
                if let Some(tuple) = self.watched.get(&backend_key(&packet)).copied() {
                    self.on_event(Event::BackendAcked { tuple, ack: packet.segment.ack });
                }
            }
            FromKernel::ResetClient(packet) => {
                if let Some(reset) = reset_for(&packet.segment) {
                    log_send(self.transmit.v4(packet.destination, packet.source, &reset));
                }
            }
            FromKernel::ResetBackend(packet) => {
                let site = self.shared.config().site_of(*packet.source.ip());
                let index = site.and_then(|site| self.shared.applied().tunnels.get(site)?.index);
                if let (Some(reset), Some(index)) = (reset_for(&packet.segment), index) {
                    log_send(self.transmit.v6(packet.destination, packet.source, &reset, index));
                }
            }
            FromKernel::Icmp6Error(packet) => {
                if let Some((key, address)) = icmp::unreachable(&packet)
                    && let Some(tuple) = self.expected.get(&key).copied()
                {
                    self.on_event(Event::Unreachable { tuple, backend: address });
                }
            }
            // Counted by the programs.
            FromKernel::TooBig(_) | FromKernel::HopLimit(_) => {}
        }
    }

    /// The program has checked the cookie; what it says is read here.
    fn on_client(&mut self, packet: Addressed<std::net::SocketAddrV4>) {
        let tuple = ClientTuple { client: packet.source, listen: packet.destination };
        let applied = self.shared.applied();
        let Some(listening) = applied.listeners.get(&tuple.listen) else { return };
        let segment = packet.segment;
        let cookie = segment.ack.minus(1);
        let key = client_key(tuple);
        let admitted = cookie::check(&self.keys, boot_nanos(), &key, segment.seq, cookie);
        let admission = admitted.map(|admitted| Admission {
            cookie,
            client_isn: admitted.client_isn,
            options: admitted.options,
            promised_scale: admitted.options.window_scale.map(|_| listening.scale),
            protocol: match listening.protocol {
                crate::config::Protocol::Tls => Protocol::Tls,
                crate::config::Protocol::Postgres => Protocol::Postgres,
            },
            default_host: listening.default_host.clone(),
        });
        self.on_event(Event::Client { tuple, segment, admission });
    }

    fn on_event(&mut self, event: Event) {
        let mut actions = std::mem::take(&mut self.actions);
        self.handshakes.handle(Instant::now(), event, &mut actions);
        self.apply(actions);
    }

    fn on_timeout(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        self.handshakes.handle_timeout(Instant::now(), &mut actions);
        self.apply(actions);
    }

    fn apply(&mut self, mut actions: Vec<Action>) {
        for action in actions.drain(..) {
            self.act(action);
        }
        self.refused = None;
        self.actions = actions;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Pend { tuple } => {
                if self.flows.remove(tuple) {
                    self.shared.tally.closed(Cause::Replaced);
                }
                warn("mark a client", self.marks.pend(&client_key(tuple), boot_nanos()));
            }
            Action::Resolve { tuple, host } => self.resolve(tuple, host),
            Action::Expect { tuple, backend } => {
                let (_, key) = keys(tuple, backend.address, backend.source);
                self.expected.insert(key, tuple);
                warn("expect a backend", self.marks.expect(&key, boot_nanos()));
            }
            Action::Unexpect { tuple, backend } => {
                let (_, key) = keys(tuple, backend.address, backend.source);
                self.unexpect(&key);
            }
            Action::ToClient { tuple, segment } => {
                log_send(self.transmit.v4(tuple.listen, tuple.client, &segment));
            }
            Action::ToBackend { tuple, backend, segment } => {
                if self.refused != Some(tuple) {
                    self.to_backend(tuple, &backend, &segment);
                }
            }
            Action::Install { tuple, splice } => self.install(tuple, &splice),
            Action::Uninstall { tuple } => {
                if self.flows.remove(tuple) {
                    self.shared.tally.closed(Cause::BackendGone);
                }
            }
            Action::Finish { tuple, outcome, host, elapsed } => {
                self.finish(tuple, outcome, host.as_ref(), elapsed);
            }
        }
    }

    fn to_backend(&self, tuple: ClientTuple, backend: &Backend, segment: &Segment) {
        let from = std::net::SocketAddrV6::new(backend.source, tuple.client.port(), 0, 0);
        let applied = self.shared.applied();
        // Without a tunnel the packet is lost, as on any other broken path.
        if let Some(index) = applied.tunnel(backend.site).and_then(|tunnel| tunnel.index) {
            log_send(self.transmit.v6(from, backend.address, segment, index));
        }
    }

    fn install(&mut self, tuple: ClientTuple, splice: &Splice) {
        let (client_key, backend_key) = keys(tuple, splice.backend.address, splice.backend.source);
        match self.flows.install(tuple, splice, boot_nanos()) {
            Ok(()) => {
                Tally::bump(&self.shared.tally.opened);
                if splice.watch.is_some() {
                    self.watched.insert(backend_key, tuple);
                }
            }
            Err(error) => {
                if matches!(error, InstallError::Full) {
                    Tally::bump(&self.shared.tally.table_full);
                }
                tracing::warn!(client = %tuple.client, host = %splice.host, "refused: {error}");
                self.refuse(tuple, splice);
            }
        }
        self.marks.unpend(&client_key);
        self.unexpect(&backend_key);
    }

    /// Both ends are told that there will be no connection.
    fn refuse(&mut self, tuple: ClientTuple, splice: &Splice) {
        let acknowledged = splice.client_isn.plus(1);
        let to_client = Segment::reset(splice.cookie.plus(1), Some(acknowledged));
        log_send(self.transmit.v4(tuple.listen, tuple.client, &to_client));
        self.to_backend(tuple, &splice.backend, &Segment::reset(acknowledged, None));
        self.refused = Some(tuple);
    }

    fn finish(
        &mut self,
        tuple: ClientTuple,
        outcome: Outcome,
        host: Option<&HostName>,
        elapsed: Duration,
    ) {
        self.marks.unpend(&client_key(tuple));
        let theirs: Vec<BackendKey> =
            self.expected.iter().filter(|(_, whose)| **whose == tuple).map(|(key, _)| *key).collect();
        theirs.iter().for_each(|key| self.unexpect(key));
        self.watched.retain(|_, whose| *whose != tuple);
        self.shared.tally.outcome(outcome);
        let host = host.map_or("-", HostName::as_str);
        let (client, outcome_name) = (tuple.client, outcome.as_str());
        if outcome == Outcome::Spliced {
            self.shared.handshake_seconds.observe(elapsed);
            tracing::debug!(%client, listen = %tuple.listen, host, ?elapsed, "spliced");
        } else {
            tracing::info!(%client, listen = %tuple.listen, host, outcome = outcome_name, "refused");
        }
    }

    fn unexpect(&mut self, key: &BackendKey) {
        self.expected.remove(key);
        self.marks.unexpect(key);
    }

    fn resolve(&self, tuple: ClientTuple, host: HostName) {
        let (shared, answer) = (self.shared.clone(), self.resolutions.clone());
        tokio::spawn(async move {
            let result = backends(&shared, tuple, &host).await;
            let _ = answer.send((tuple, host, result));
        });
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Handshakes(answer) => {
                let list = self.handshakes.iter().map(|handshake| Handshake {
                    tuple: handshake.tuple,
                    host: handshake.host.map(|host| host.as_str().to_owned()),
                    backend: handshake.backend.cloned(),
                    age: handshake.started.elapsed(),
                });
                let _ = answer.send(list.collect());
            }
            Request::FlowCount(answer) => {
                let _ = answer.send(self.flows.len());
            }
            Request::Kill(tuples, answer) => {
                let killed = tuples.into_iter().filter(|tuple| self.flows.remove(*tuple)).count();
                (0..killed).for_each(|_| self.shared.tally.closed(Cause::Killed));
                let _ = answer.send(killed as u64);
            }
        }
    }

    /// Looking through a large table takes longer than a handshake may wait.
    fn start_survey(&self) {
        let (results, shared) = (self.survey_results.clone(), self.shared.clone());
        spawn_blocking(move || {
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

    fn on_survey(&mut self, survey: &Survey) {
        for (flow, cause) in self.flows.sweep(survey, boot_nanos()) {
            self.shared.tally.closed(cause);
            let client = flow.tuple.client;
            tracing::debug!(%client, cause = cause.as_str(), "a flow has ended");
        }
    }
}

/// The servers of a name, in the order in which to try them.
async fn backends(
    shared: &Shared,
    tuple: ClientTuple,
    host: &HostName,
) -> Result<Vec<Backend>, ResolveError> {
    let addresses = shared.resolver.lookup(host.as_str()).await.map_err(|error| match error {
        LookupError::NotFound => ResolveError::NotFound,
        LookupError::Failed(reason) => {
            tracing::info!(%host, "cannot be looked up: {reason}");
            ResolveError::Failed
        }
    })?;
    let (config, applied) = (shared.config(), shared.applied());
    let inside = select(&addresses, &config.sites).map_err(|_| ResolveError::OutsidePrefixes)?;
    let net = config.nat46.network();
    let prefix = Nat46Prefix::new(net.network().octets(), net.prefix_len())
        .map_err(|_| ResolveError::Failed)?;
    let source = prefix.embed(tuple.client.ip().octets()).into();
    let backends = inside.into_iter().filter_map(|(address, site)| {
        let mtu = applied.tunnels.get(site)?.mtu.unwrap_or(1280);
        Some(Backend {
            address: std::net::SocketAddrV6::new(address, tuple.listen.port(), 0, 0),
            source,
            site: *applied.site_numbers.get(site)?,
            mss_limit: u16::try_from(mtu.saturating_sub(60)).unwrap_or(u16::MAX),
        })
    });
    Ok(backends.collect())
}

/// RFC 9293 §3.10.7.1: what the sender of a stray segment takes for an answer. None for a reset.
fn reset_for(segment: &Segment) -> Option<Segment> {
    if segment.has(Flags::RST) {
        return None;
    }
    if segment.has(Flags::ACK) {
        return Some(Segment::reset(segment.ack, None));
    }
    let control = u32::from(segment.has(Flags::SYN)) + u32::from(segment.has(Flags::FIN));
    Some(Segment::reset(Seq(0), Some(segment.end().plus(control))))
}

fn backend_key(packet: &Addressed<std::net::SocketAddrV6>) -> BackendKey {
    BackendKey::new(
        packet.source.ip().octets(),
        packet.source.port().to_be_bytes(),
        packet.destination.ip().octets(),
        packet.destination.port().to_be_bytes(),
    )
}

/// A packet that cannot be sent is a packet lost: its receiver, or a timeout, repairs that.
fn log_send(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a packet could not be sent");
    }
}

fn warn(what: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!("{what}: {error:#}");
    }
}
