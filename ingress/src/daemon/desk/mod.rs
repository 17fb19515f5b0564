//! The desk: answers ingressctl and Prometheus from the same numbers.

mod counts;
mod explain;
mod listing;
mod page;
mod sample;
mod state;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout,
};

use super::{
    engine::Request as Ask,
    history::History,
    reconciler::{Refused, Reload},
    shared::Shared,
};
use crate::{
    control::{Connections, Control, Filter, Flow, FlowState, Flows, Request, Response},
    dataplane::Counters,
    handshake::ClientTuple,
};

/// An engine that is busy answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// The engine has handshakes to see to between these.
const KILLED_AT_ONCE: usize = 256;

/// Answers whoever asks the daemon something.
pub struct Desk {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    engine: mpsc::Sender<Ask>,
    reloads: mpsc::Sender<Reload>,
    /// One reload at a time.
    reloading: Mutex<()>,
    /// The points of the status page's pictures.
    history: std::sync::Mutex<History>,
}

impl Desk {
    /// Puts the desk together. `engine` and `reloads` lead to the tasks that it asks.
    pub fn new(
        shared: Arc<Shared>,
        counters: Arc<Counters>,
        engine: mpsc::Sender<Ask>,
        reloads: mpsc::Sender<Reload>,
    ) -> Self {
        Self {
            shared,
            counters,
            engine,
            reloads,
            reloading: Mutex::new(()),
            history: std::sync::Mutex::default(),
        }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.engine.send(request(answer)).await.ok().context("the engine has stopped")?;
        let answered = timeout(PATIENCE, answered).await.context("the engine is stuck")?;
        answered.context("the engine has stopped")
    }

    async fn flows(&self, filter: Filter) -> Result<Vec<Flow>> {
        let handshakes = self.ask(Ask::Handshakes).await?;
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || {
            let handshakes = handshakes.iter().map(|one| listing::in_progress(&shared, one));
            let mut flows: Vec<Flow> = handshakes.collect();
            flows.extend(listing::established(&shared)?);
            flows.retain(|flow| filter.matches(flow));
            Ok(flows)
        })
        .await?
    }

    async fn connections(&self) -> Result<Connections> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || listing::from_inside(&shared)).await?
    }

    async fn kill(&self, filter: Filter) -> Result<u64> {
        let flows = self.flows(filter).await?.into_iter();
        let tuples: Vec<ClientTuple> = flows
            .filter(|flow| flow.state != FlowState::Handshake)
            .map(|flow| ClientTuple { client: flow.client, listen: flow.listen })
            .collect();
        let mut killed = 0;
        for some in tuples.chunks(KILLED_AT_ONCE) {
            killed += self.ask(|answer| Ask::Kill(some.to_vec(), answer)).await?;
        }
        Ok(killed)
    }

    async fn reload(&self) -> Response {
        let _one = self.reloading.lock().await;
        let (answer, answered) = oneshot::channel();
        if self.reloads.send(answer).await.is_err() {
            return Response::failed("the reconciler has stopped");
        }
        match answered.await {
            Ok(Ok(changes)) => Response::Reloaded { changes },
            Ok(Err(Refused { kind, message })) => Response::Error { kind, message },
            Err(_) => Response::failed("the reconciler has stopped"),
        }
    }
}

impl Control for Desk {
    async fn answer(&self, request: Request) -> Response {
        let failed = |error: anyhow::Error| Response::failed(format!("{error:#}"));
        match request {
            Request::Flows { filter } => self
                .flows(filter)
                .await
                .map_or_else(failed, |flows| Response::Flows(Flows::from(flows))),
            Request::Kill { filter } => {
                self.kill(filter).await.map_or_else(failed, |flows| Response::Killed { flows })
            }
            Request::Connections => {
                self.connections().await.map_or_else(failed, Response::Connections)
            }
            Request::Stats => Response::Stats(self.stats()),
            Request::Drops => Response::Drops(self.drops()),
            Request::Status => self.status().await.map_or_else(failed, Response::Status),
            Request::Dns => Response::Dns(self.shared.resolver.report()),
            Request::Flush { name } => Response::flushed(&self.shared.resolver, name.as_deref()),
            Request::Reload => self.reload().await,
            Request::Explain { name } => Response::Explanation(self.explain(&name).await),
        }
    }
}
