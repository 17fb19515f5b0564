//! What others ask of the engine.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Core;
use crate::handshake::{Backend, ClientTuple};

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
    /// Whose handshake.
    pub tuple: ClientTuple,
    /// The name, once known.
    pub host: Option<String>,
    /// The backend that is being tried.
    pub backend: Option<Backend>,
    /// How long it has taken so far.
    pub age: Duration,
}

impl Core {
    pub(super) fn on_request(&mut self, request: Request) {
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
                let killed = tuples.into_iter().filter(|tuple| self.kill(*tuple)).count();
                let _ = answer.send(killed as u64);
            }
        }
    }
}
