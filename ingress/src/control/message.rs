//! Requests and responses.

use serde::{Deserialize, Serialize};

use super::{Connections, Dns, Drops, Explanation, Filter, Flows, Stats, Status};
use crate::{config, dns::Resolver};

/// What can be asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request {
    /// The flows that pass a filter.
    Flows {
        /// Which flows.
        #[serde(default)]
        filter: Filter,
    },
    /// Ends the flows that pass a filter.
    Kill {
        /// Which flows; an empty filter means all.
        #[serde(default)]
        filter: Filter,
    },
    /// The connections from inside that the policy remembers.
    Connections,
    /// Packets, bytes and counters.
    Stats,
    /// What was dropped and why.
    Drops,
    /// How the daemon is.
    Status,
    /// Names with their addresses.
    Dns,
    /// Forgets what DNS servers answered.
    Flush {
        /// Only what they said of this name.
        #[serde(default)]
        name: Option<String>,
    },
    /// Reads the configuration again.
    Reload,
    /// What would happen to a client that asks for a name.
    Explain {
        /// The name.
        name: String,
    },
}

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "lowercase")]
pub enum Response {
    /// The answer to [`Request::Flows`].
    Flows(Flows),
    /// The answer to [`Request::Kill`].
    Killed {
        /// How many flows.
        flows: u64,
    },
    /// The answer to [`Request::Connections`].
    Connections(Connections),
    /// The answer to [`Request::Stats`].
    Stats(Stats),
    /// The answer to [`Request::Drops`].
    Drops(Drops),
    /// The answer to [`Request::Status`].
    Status(Status),
    /// The answer to [`Request::Dns`].
    Dns(Dns),
    /// The answer to [`Request::Flush`].
    Flushed {
        /// How many names.
        names: u64,
    },
    /// The answer to [`Request::Reload`].
    Reloaded {
        /// What is different now, a sentence each.
        changes: Vec<String>,
    },
    /// The answer to [`Request::Explain`].
    Explanation(Explanation),
    /// The request cannot be fulfilled.
    Error {
        /// What kind of failure.
        kind: ErrorKind,
        /// What is wrong and what to do.
        message: String,
    },
}

/// What kind of failure; it decides ingressctl's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// The request makes no sense.
    Request,
    /// The configuration is wrong; the old one stays.
    Configuration,
    /// Anything else.
    Failed,
}

impl Response {
    /// To [`Request::Flush`], done.
    pub fn flushed(resolver: &Resolver, name: Option<&str>) -> Self {
        match name.map(config::host_name).transpose() {
            Ok(name) => Self::Flushed { names: resolver.flush(name.as_ref()) as u64 },
            Err(problem) => {
                let message = format!("the host name {:?} {problem}", name.unwrap_or_default());
                Self::Error { kind: ErrorKind::Request, message }
            }
        }
    }

    /// A failure that is nobody's fault in particular.
    pub fn failed(message: impl ToString) -> Self {
        Self::Error { kind: ErrorKind::Failed, message: message.to_string() }
    }
}
