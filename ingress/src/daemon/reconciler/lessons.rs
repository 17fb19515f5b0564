//! What backends show of the ports where they are reached, and what those promise from then on. The map is the
//! memory: the next daemon finds there what this one has learned.

use std::net::SocketAddrV4;

use anyhow::Result;
use ingress_common::maps::{Listener, ListenerKey, Offer};
use tokio::time::Instant;

use super::Reconciler;
use crate::handshake::Promise;

/// What a backend has shown.
#[derive(Clone, Copy, Debug)]
pub enum Lesson {
    /// It lacks what is promised.
    Lacks(Promise),
    /// It takes this MSS.
    Takes(u16),
}

impl Reconciler {
    pub(super) async fn learn(&mut self, listen: SocketAddrV4, lesson: Lesson) -> Result<()> {
        let changed = match lesson {
            Lesson::Lacks(promise) => self.withdraw(listen, promise)?,
            Lesson::Takes(mss) => self.lower(listen, mss)?,
        };
        if changed { self.reconcile().await } else { Ok(()) }
    }

    fn withdraw(&mut self, listen: SocketAddrV4, promise: Promise) -> Result<bool> {
        let key = ListenerKey::new(listen);
        let Some(mut listener) = self.maps.listeners.list()?.remove(&key) else { return Ok(false) };
        let (offer, what) = match promise {
            Promise::Timestamps => (&mut listener.timestamps, "timestamps"),
            Promise::Sack => (&mut listener.sack, "SACK"),
        };
        if Offer::from_number(*offer) != Offer::On {
            return Ok(false);
        }
        *offer = Offer::Withdrawn as u8;
        tracing::warn!(
            %listen,
            "a backend lacks {what}: clients are promised none any more; `ingressctl reload` tries again"
        );
        self.maps.listeners.set(&key, listener)?;
        Ok(true)
    }

    fn lower(&mut self, listen: SocketAddrV4, takes: u16) -> Result<bool> {
        let promise = self.shared.applied().listeners.get(&listen).map(|port| port.promise);
        let Some(promise) = promise else { return Ok(false) };
        let heard = self.sizes.hear(&ListenerKey::new(listen), &promise, takes, Instant::now());
        let Some(mss) = heard else { return Ok(false) };
        tracing::info!(
            %listen,
            "a backend takes segments of {takes} octets: until none has said so for ten minutes, clients are \
             promised an MSS of {mss}"
        );
        let lowered = Listener { mss: mss.to_be_bytes(), lowered: 1, ..promise };
        self.maps.listeners.set(&ListenerKey::new(listen), lowered)?;
        Ok(true)
    }
}
