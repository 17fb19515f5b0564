//! Flows that the operator ends before their time.

use std::net::SocketAddrV6;

use ingress_common::tcp::{Flags, Seq, Timestamps};

use super::{Core, log_send};
use crate::{
    daemon::clock::boot_nanos,
    flows::{Cause, client_key},
    handshake::{ClientTuple, Segment},
    icmp::Spliced,
};

/// How often both ends are told, once a beat: the first time may be lost, and they may be silent for hours.
const TIMES: u8 = 3;
/// How many flows are remembered for that.
const REMEMBERED: usize = 4096;

/// A flow that is no more.
pub(super) struct Killed {
    tuple: ClientTuple,
    flow: Spliced,
    site: u16,
    left: u8,
}

impl Core {
    /// Ends a flow. `false` where there is none.
    pub(super) fn kill(&mut self, tuple: ClientTuple) -> bool {
        let Some((flow, site)) = self.flows.by_client(&client_key(tuple)) else { return false };
        if !self.flows.remove(tuple) {
            return false;
        }
        self.shared.tally.closed(Cause::Killed);
        self.drive(|handshakes, now, actions| handshakes.end_delivery(now, tuple, actions));
        let killed = Killed { tuple, flow, site, left: TIMES - 1 };
        self.tell(&killed);
        if self.killed.len() < REMEMBERED {
            self.killed.push(killed);
        }
        true
    }

    /// Tells those again that may not have heard it.
    pub(super) fn tell_again(&mut self) {
        let mut killed = std::mem::take(&mut self.killed);
        killed.retain_mut(|killed| {
            // Another connection there is not to be disturbed.
            if self.flows.by_client(&client_key(killed.tuple)).is_some() {
                return false;
            }
            self.tell(killed);
            killed.left -= 1;
            killed.left > 0
        });
        self.killed = killed;
    }

    /// Nobody here knows where the two ends stand, so each is sent a segment that fits nowhere. A TCP answers
    /// that with its own numbers (RFC 9293 §3.10.7.4), and the answer, which is of no flow any more, brings it a
    /// reset with exactly them.
    fn tell(&self, killed: &Killed) {
        let Killed { tuple, flow, site, .. } = killed;
        let anywhere = Seq(boot_nanos() as u32);
        let probe = |stamps| {
            Segment { seq: anywhere, ack: anywhere, flags: Flags::ACK, ..Segment::default() }
                .stamped(stamps)
        };
        // An end with timestamps may silently drop segments with none or old ones (RFC 7323 §3.2, 5.2). Of two half the
        // clock's range apart one is not old.
        let probes = match flow.ts_delta {
            None => vec![probe(None)],
            Some(_) => [anywhere.0, anywhere.0 ^ 1 << 31]
                .map(|value| probe(Some(Timestamps { value, echo: value })))
                .into(),
        };
        let from = SocketAddrV6::new(flow.source.into(), tuple.client.port(), 0, 0);
        let to = SocketAddrV6::new(flow.backend.into(), tuple.listen.port(), 0, 0);
        let index = self.shared.applied().tunnel_index(*site);
        for probe in &probes {
            log_send(self.transmit.v4(tuple.listen, tuple.client, probe));
            if let Some(index) = index {
                log_send(self.transmit.v6(from, to, probe, index));
            }
        }
    }
}
