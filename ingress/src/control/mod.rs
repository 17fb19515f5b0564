//! The control socket: what ingressctl asks and ingressd answers.
//!
//! One JSON object a line each way over a unix socket. Fields are only ever added.

mod client;
mod connection;
mod counts;
mod explain;
mod flow;
mod message;
mod names;
mod rulings;
mod server;
mod status;

pub use client::{CallError, call};
pub use connection::{ConnectionState, Connections, FromInside};
pub use counts::{Count, Direction, DropCount, Drops, Path, Stats, Traffic};
pub use explain::{Explanation, Step, explain};
pub use flow::{Filter, Flow, FlowState, Flows, network};
pub use message::{ErrorKind, Request, Response};
pub use names::{Dns, DnsName, DnsSource};
pub use server::{Control, Server};
pub use status::{
    Attachment, FlowTable, Interface, Listener, PolicyStatus, Promised, Reload, Shield, SiteStatus,
    Status,
};
