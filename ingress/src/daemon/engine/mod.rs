//! The engine: upcalls in, handshakes driven, flows installed. It owns every map that a handshake touches
//! and gives the programs their sign of life, so that a stuck engine is an absent one.

use std::{
    collections::HashMap,
    net::SocketAddrV4,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use anyhow::{Context, Result};
use aya::maps::{MapData, RingBuf};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::yield_now,
    time::{Duration, MissedTickBehavior, interval, sleep},
};

use awaited::Awaited;
use debts::DebtBook;
use key_ring::KeyRing;
use killing::Killed;
use lookups::{Lookups, Resolved};
use sweep::Surveys;
use unsent::Unsent;

use super::{clock::boot_nanos, ration::Ration, reconciler::Lesson, shared::Shared};
use crate::{
    dataplane::HandshakeTables,
    flows::{Finding, FlowTable},
    handshake::{Action, ClientTuple, Event, Handshakes, Limits, Outcome},
    transmit::Transmit,
    upcall::Upcalls,
};

mod actions;
mod awaited;
mod debts;
mod inherit;
mod key_ring;
mod killing;
mod lookups;
mod owners;
mod requests;
mod sweep;
pub mod thread;
mod unsent;
mod upcalls;

pub use requests::{Handshake, Request};

/// The programs take a daemon for gone after three of these.
const BEAT: Duration = Duration::from_secs(1);
/// How often flows are looked through for those whose time is over.
const SWEEP: Duration = Duration::from_secs(20);
/// Upcalls taken in one go, between which everything else gets its turn.
const BATCH: usize = 128;
/// How long upcalls may follow each other without a look at the clock and the other sources: a ring that is never
/// empty gives no reason to wait, and the runtime looks only then.
const WITHOUT_REST: Duration = Duration::from_millis(5);
/// Until an alarm that nobody has set.
const NEVER: Duration = Duration::from_secs(3600);

/// The engine: where events come from, and what drives the handshakes.
pub struct Engine {
    upcalls: RingBuf<MapData>,
    core: Core,
    inbox: mpsc::Receiver<Request>,
    resolved: mpsc::UnboundedReceiver<Resolved>,
    found: mpsc::Receiver<Finding>,
}

/// Everything but the sources of events.
struct Core {
    handshakes: Handshakes,
    /// Empty between two steps of the state machine; kept for its memory.
    actions: Vec<Action>,
    lookups: Lookups,
    awaited: Awaited,
    debts: DebtBook,
    key_ring: KeyRing,
    flows: FlowTable,
    surveys: Surveys,
    transmit: Transmit,
    unsent: Unsent,
    /// Tuples whose flow the table did not take, until their handshake ends: how it ends, and what is added to
    /// their backends' numbers.
    refused: HashMap<ClientTuple, (Outcome, u32)>,
    /// Flows that were killed and whose ends may not have heard it.
    killed: Vec<Killed>,
    /// Of log lines about refusals.
    ration: Ration,
    started: Instant,
    lessons: mpsc::Sender<(SocketAddrV4, Lesson)>,
    shared: Arc<Shared>,
}

impl Engine {
    /// Takes over the maps. Must be called within a tokio runtime, which does what packets need not wait for.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or where the maps cannot be read.
    pub fn new(
        maps: HandshakeTables,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Request>,
        lessons: mpsc::Sender<(SocketAddrV4, Lesson)>,
    ) -> Result<Self> {
        let HandshakeTables { upcalls, marks, debts, secrets, flows } = maps;
        let debts = DebtBook::open(debts);
        let (lookups, resolved) = Lookups::new(Handle::current(), shared.clone());
        let (surveys, found) = Surveys::new(Handle::current(), shared.clone());
        let core = Core {
            handshakes: Handshakes::new(Limits::default()),
            actions: Vec::new(),
            lookups,
            awaited: Awaited::new(marks, &debts.owing())?,
            debts,
            key_ring: KeyRing::open(secrets)?,
            flows: FlowTable::open(flows),
            surveys,
            transmit: Transmit::open().context(
                "open raw sockets; ingressd needs CAP_NET_RAW to speak for clients and backends",
            )?,
            unsent: Unsent::default(),
            refused: HashMap::new(),
            killed: Vec::new(),
            ration: Ration::new(Instant::now()),
            started: Instant::now(),
            lessons,
            shared,
        };
        Ok(Self { upcalls, core, inbox, resolved, found })
    }

    /// A sign of life for the programs, and fresh keys where they are due.
    ///
    /// # Errors
    /// Where the maps cannot be written.
    pub fn beat(&mut self) -> Result<()> {
        self.core.beat()
    }

    /// Takes over what an earlier daemon owed; before [`Self::run`] takes in what has been sent since.
    pub fn inherit(&mut self) {
        self.core.inherit();
    }

    /// Runs until it cannot, in whatever runtime that is.
    ///
    /// # Errors
    /// Where the maps cannot be read or written any more.
    pub async fn run(mut self) -> Result<()> {
        let mut upcalls = Upcalls::new(self.upcalls).context("watch the ring buffer")?;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::with_capacity(BATCH);
        let mut alarm = pin!(sleep(NEVER));
        let mut rested = Instant::now();
        loop {
            if let Some(timeout) = self.core.handshakes.next_timeout()
                && timeout < alarm.deadline().into_std()
            {
                alarm.as_mut().reset(timeout.into());
            }
            tokio::select! {
                read = upcalls.read(&mut events, BATCH) => {
                    read.context("read the ring buffer")?;
                    for event in events.drain(..) {
                        self.core.on_upcall(event);
                    }
                    if rested.elapsed() >= WITHOUT_REST {
                        yield_now().await;
                        rested = Instant::now();
                    }
                }
                Some(resolved) = self.resolved.recv() => self.core.on_resolved(resolved),
                // Set for a handshake that has ended since, it finds nothing due. Most end long before their timeouts,
                // and to set it anew for each would cost a system call.
                () = &mut alarm => {
                    alarm.as_mut().reset(tokio::time::Instant::now() + NEVER);
                    self.core.on_timeout();
                }
                Some(request) = self.inbox.recv() => self.core.on_request(request),
                Some(finding) = self.found.recv() => self.core.on_finding(&finding),
                _ = beat.tick() => self.core.beat()?,
                _ = sweep.tick() => self.core.surveys.start(self.core.flows.closings()),
            }
        }
    }
}

impl Core {
    fn beat(&mut self) -> Result<()> {
        let now = boot_nanos();
        self.key_ring.beat(now)?;
        self.shared.last_beat.store(now, Ordering::Relaxed);
        let applied = self.shared.applied();
        let listed = self.handshakes.iter().map(|handshake| handshake.tuple.listen);
        self.shared.tally.set_handshakes(listed.map(|listen| applied.protocol(listen)));
        self.unsent.look(&applied, Instant::now());
        self.tell_again();
        Ok(())
    }

    fn on_event(&mut self, event: Event) {
        self.drive(|handshakes, now, actions| handshakes.handle(now, event, actions));
    }

    fn on_timeout(&mut self) {
        self.drive(Handshakes::handle_timeout);
    }

    /// Has the state machine do something, does what it wants done, and feeds it what is known at once of that.
    fn drive(&mut self, step: impl FnOnce(&mut Handshakes, Instant, &mut Vec<Action>)) {
        let mut actions = std::mem::take(&mut self.actions);
        step(&mut self.handshakes, Instant::now(), &mut actions);
        for action in actions.drain(..) {
            self.act(action);
        }
        self.actions = actions;
        self.awaited.settle();
        while let Some(resolved) = self.lookups.next_answered() {
            self.on_resolved(resolved);
        }
        while let Some((tuple, backend)) = self.unsent.next_unreachable() {
            self.on_event(Event::Unreachable { tuple, backend });
        }
    }

    fn on_resolved(&mut self, (tuple, host, result): Resolved) {
        let result = result.and_then(|backends| self.reachable(tuple, backends));
        self.on_event(Event::Resolved { tuple, host, result });
    }
}

/// A packet that cannot be sent is a packet lost: its receiver, or a timeout, repairs that.
fn log_send(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a packet could not be sent");
    }
}
