//! The control socket: what ingressctl asks and ingressd answers.
//!
//! One JSON object a line each way over a unix socket. Fields are only ever added.

mod client;
mod connection;
mod explain;
mod flow;
mod message;
mod report;
mod rulings;
mod server;

pub use client::{CallError, call};
pub use connection::{ConnectionState, Connections, FromInside};
pub use explain::{Explanation, Step, explain};
pub use flow::{Filter, Flow, FlowState, Flows, network};
pub use message::{ErrorKind, Request, Response};
pub use report::{
    Attachment, Count, Direction, Dns, DnsName, DnsSource, DropCount, Drops, FlowTable, Interface,
    Listener, Path, PolicyStatus, Promised, Reload, Shield, SiteStatus, Stats, Status, Traffic,
};
pub use server::{Control, Server};
