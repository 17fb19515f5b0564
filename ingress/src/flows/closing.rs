//! FIN and RST of flows that the daemon has passed on itself, so that no program has marked them.
//!
//! The daemon cannot mark them in the entries: to write an entry is to replace it, and with it whatever a program has
//! written since it was read. So these marks are kept here, and a restart forgets them.

use std::collections::HashMap;

use ingress_common::{
    maps::{CLOSING_FIN, CLOSING_RST},
    tcp::Flags,
};

use super::Flow;
use crate::handshake::{ClientTuple, Sender};

/// Enough for all that end while a client's first segments are still in the ring; the others stay until they are idle.
const MOST: usize = 4096;

/// What has closed, by flow.
#[derive(Clone, Debug, Default)]
pub struct Closings(HashMap<ClientTuple, Closing>);

#[derive(Clone, Copy, Debug)]
struct Closing {
    /// When the flow was installed: another one may have the tuple by now.
    opened: u64,
    client: Marks,
    backend: Marks,
}

#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    fin: bool,
    /// How many packets of this end the programs had forwarded by its RST.
    rst: Option<u64>,
}

impl Closings {
    /// Notes a segment that was passed on.
    pub(super) fn note(&mut self, flow: &Flow, sender: Sender, flags: Flags) {
        if self.0.len() >= MOST && !self.0.contains_key(&flow.tuple) {
            return;
        }
        let opened = flow.to_backend.opened;
        let unmarked = Closing { opened, client: Marks::default(), backend: Marks::default() };
        let closing = self.0.entry(flow.tuple).or_insert(unmarked);
        if closing.opened != opened {
            *closing = unmarked;
        }
        let (marks, packets) = match sender {
            Sender::Client => (&mut closing.client, flow.to_backend.packets),
            Sender::Backend => {
                (&mut closing.backend, flow.to_client.map_or(0, |half| half.packets))
            }
        };
        marks.fin |= flags.contains(Flags::FIN);
        marks.rst = flags.contains(Flags::RST).then_some(packets);
    }

    /// Adds what was noted to a flow's marks.
    pub(super) fn mark(&self, flow: &mut Flow) {
        let Some(closing) = self.0.get(&flow.tuple) else { return };
        if closing.opened != flow.to_backend.opened {
            return;
        }
        flow.to_backend.closing |= closing.client.of(flow.to_backend.packets);
        if let Some(back) = &mut flow.to_client {
            back.closing |= closing.backend.of(back.packets);
        }
    }

    pub(super) fn forget(&mut self, tuple: &ClientTuple) {
        self.0.remove(tuple);
    }
}

impl Marks {
    /// An end that goes on to speak did not mean its RST, or it was not accepted (RFC 7857 §2.2).
    fn of(self, packets: u64) -> u8 {
        let fin = if self.fin { CLOSING_FIN } else { 0 };
        let rst = if self.rst == Some(packets) { CLOSING_RST } else { 0 };
        fin | rst
    }
}

#[cfg(test)]
mod tests {
    use ingress_common::maps::{ToBackend, ToClient};

    use super::*;

    fn flow() -> Flow {
        Flow {
            tuple: ClientTuple {
                client: "192.0.2.1:40000".parse().unwrap(),
                listen: "198.51.100.2:443".parse().unwrap(),
            },
            to_backend: ToBackend { opened: 7, packets: 3, ..ToBackend::default() },
            to_client: Some(ToClient::default()),
        }
    }

    /// The marks of both halves.
    fn marks(closings: &Closings, mut flow: Flow) -> [u8; 2] {
        closings.mark(&mut flow);
        [flow.to_backend.closing, flow.to_client.unwrap().closing]
    }

    #[test]
    fn each_end_closes_its_own_half() {
        let (mut closings, mut flow) = (Closings::default(), flow());
        closings.note(&flow, Sender::Client, Flags::ACK.with(Flags::FIN));
        assert_eq!(marks(&closings, flow.clone()), [CLOSING_FIN, 0]);
        closings.note(&flow, Sender::Backend, Flags::RST);
        assert_eq!(marks(&closings, flow.clone()), [CLOSING_FIN, CLOSING_RST]);
        flow.to_client.as_mut().unwrap().packets += 1;
        assert_eq!(marks(&closings, flow.clone()), [CLOSING_FIN, 0], "it was not meant");
        closings.forget(&flow.tuple);
        assert_eq!(marks(&closings, flow), [0, 0]);
    }

    #[test]
    fn another_flow_on_the_tuple_is_not_closed() {
        let (mut closings, mut flow) = (Closings::default(), flow());
        closings.note(&flow, Sender::Client, Flags::FIN);
        flow.to_backend.opened += 1;
        assert_eq!(marks(&closings, flow.clone()), [0, 0]);
        closings.note(&flow, Sender::Backend, Flags::FIN);
        assert_eq!(marks(&closings, flow), [0, CLOSING_FIN]);
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let (mut closings, mut flow) = (Closings::default(), flow());
        for port in 1..=MOST as u16 + 1 {
            flow.tuple.client.set_port(port);
            closings.note(&flow, Sender::Client, Flags::FIN);
        }
        assert_eq!(closings.0.len(), MOST);
    }
}
