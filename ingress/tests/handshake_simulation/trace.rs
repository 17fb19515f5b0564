//! One line for each thing that happens, for whoever runs a single seed.

use ingress::handshake::{Action, Event, Segment};

use crate::world::{Thing, index};

pub fn describe(thing: &Thing) -> String {
    match thing {
        Thing::KernelFromClient(given) => format!("client > kernel  {}", Brief(given)),
        Thing::KernelFromBackend(index, given) => {
            format!("server{index} > kernel {}", Brief(given))
        }
        Thing::ToClient(given) => format!("> client         {}", Brief(given)),
        Thing::ToServer(index, given) => format!("> server{index}        {}", Brief(given)),
        Thing::Upcall(event) => match &**event {
            Event::Client { segment, admission, .. } => {
                let proof = admission.as_ref().map(|admission| admission.client_isn.is_some());
                format!("upcall client    {} admission {proof:?}", Brief(segment))
            }
            Event::Backend { from, segment, .. } => {
                format!("upcall server{}   {}", index(*from), Brief(segment))
            }
            event @ (Event::Unreachable { .. }
            | Event::TooBig { .. }
            | Event::Resolved { .. }
            | Event::BackendAcked { .. }) => format!("upcall {event:?}"),
        },
    }
}

pub fn describe_action(action: &Action) -> String {
    match action {
        Action::ToClient { segment, .. } => format!("ToClient {}", Brief(segment)),
        Action::ToBackend { backend, segment, .. } => {
            format!("ToBackend{} {}", index(backend.address), Brief(segment))
        }
        Action::Owe { owed, .. } => format!("Owe {} octets", owed.octets.len()),
        action @ (Action::Pend { .. }
        | Action::Resolve { .. }
        | Action::Expect { .. }
        | Action::Unexpect { .. }
        | Action::Withdraw { .. }
        | Action::Install { .. }
        | Action::Closing { .. }
        | Action::Uninstall { .. }
        | Action::Finish { .. }) => format!("{action:?}"),
    }
}

struct Brief<'a>(&'a Segment);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(Segment { seq, ack, flags, window, payload, timestamps, .. }) = self;
        for (bit, name) in [(1, 'F'), (2, 'S'), (4, 'R'), (8, 'P'), (16, 'A')] {
            if flags.0 & bit != 0 {
                write!(f, "{name}")?;
            }
        }
        write!(f, " seq {} ack {} len {} win {window}", seq.0, ack.0, payload.len())?;
        timestamps.map_or(Ok(()), |stamps| write!(f, " TS {} {}", stamps.value, stamps.echo))
    }
}
