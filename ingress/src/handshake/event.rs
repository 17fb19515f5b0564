//! What goes into the state machine and what comes out of it.

use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use ingress_common::tcp::{Flags, Seq, SynOptions, Timestamps};

use super::{Outcome, Segment, Splice};
use crate::fairness::Neighbourhood;
use crate::host_name::HostName;

/// The IPv4 side of a connection, by which it is known everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientTuple {
    /// The client's address and port.
    pub client: SocketAddrV4,
    /// The address and port of this machine that it connected to.
    pub listen: SocketAddrV4,
}

impl ClientTuple {
    pub(super) fn neighbourhood(&self) -> Neighbourhood {
        Neighbourhood::of(*self.client.ip())
    }
}

/// A server that may take the connection, and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// The server; its port is the listening port.
    pub address: SocketAddrV6,
    /// The NAT46 source: the client's address as the server sees it. The port is the client's own.
    pub source: Ipv6Addr,
    /// Number of the site that owns the address.
    pub site: u16,
    /// The largest MSS that the tunnel carries over IPv4: its MTU less 60.
    pub mss_limit: u16,
}

/// What a listening port speaks before the ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing: TLS from the first octet.
    Tls,
    /// PostgreSQL's SSLRequest, or direct TLS.
    Postgres,
}

/// What a valid cookie says about the connection that a segment belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Our initial sequence number.
    pub cookie: Seq,
    /// The client's initial sequence number; `Some` where the segment was proven to start right after it.
    pub client_isn: Option<Seq>,
    /// The client's MSS class, window scale and SACK, as the cookie kept them.
    pub options: SynOptions,
    /// The window scale of our SYN-ACK.
    pub promised_scale: Option<u8>,
    /// What the listening port speaks.
    pub protocol: Protocol,
    /// The name for clients that send none.
    pub default_host: Option<HostName>,
}

/// Who has sent a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The client.
    Client,
    /// The backend.
    Backend,
}

/// What a SYN-ACK promises on behalf of backends that are not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Promise {
    /// Timestamps (RFC 7323).
    Timestamps,
    /// SACK (RFC 2018).
    Sack,
}

/// Why a name led to no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// The name does not exist, or has no IPv6 address.
    NotFound,
    /// Its addresses all lie outside the sites' prefixes.
    OutsidePrefixes,
    /// The operator's lists keep it from leading anywhere.
    Denied,
    /// The question got no usable answer.
    Failed,
    /// The client's port has another connection to each of the backends, by way of another address of ours.
    PortTaken,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A segment from a client.
    Client {
        /// The connection.
        tuple: ClientTuple,
        /// The segment.
        segment: Segment,
        /// `None`: the tuple is pending, and the acknowledgment number is not (or no longer) the cookie's.
        admission: Option<Admission>,
    },
    /// A segment from a backend whose tuple is expected.
    Backend {
        /// The connection that expects it.
        tuple: ClientTuple,
        /// The backend's address.
        from: SocketAddrV6,
        /// The segment.
        segment: Segment,
    },
    /// An ICMPv6 error about what we sent to a backend.
    Unreachable {
        /// The connection it was sent for.
        tuple: ClientTuple,
        /// The backend's address.
        backend: SocketAddrV6,
    },
    /// A router on the way to the backend of a watched [`Splice`] has no room for what we sent.
    TooBig {
        /// The connection.
        tuple: ClientTuple,
        /// What it has room for, IPv6 header included.
        mtu: u32,
    },
    /// The answer to [`Action::Resolve`].
    Resolved {
        /// The connection that asked.
        tuple: ClientTuple,
        /// The name that was asked for.
        host: HostName,
        /// Backends in the order in which to try them.
        result: Result<Vec<Backend>, ResolveError>,
    },
    /// The backend's acknowledgment covers the watched number of a [`Splice`].
    ///
    /// The watcher must check that the acknowledgment is less than [`Splice::WATCH_RANGE`] ahead of the watched number,
    /// since an older connection on the tuple may still send; and keep watching until this event is sure to arrive:
    /// without it a good connection is given up.
    BackendAcked {
        /// The connection.
        tuple: ClientTuple,
        /// The acknowledgment number, in the client's sequence space.
        ack: Seq,
    },
}

impl Event {
    /// The connection that the event is about.
    #[must_use]
    pub fn tuple(&self) -> ClientTuple {
        match self {
            Self::Client { tuple, .. }
            | Self::Backend { tuple, .. }
            | Self::Unreachable { tuple, .. }
            | Self::TooBig { tuple, .. }
            | Self::Resolved { tuple, .. }
            | Self::BackendAcked { tuple, .. } => *tuple,
        }
    }
}

/// The acknowledged beginning of a client's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Our ISN.
    pub cookie: Seq,
    /// The client's ISN.
    pub client_isn: Seq,
    /// The client's window field, as it last came.
    pub window: u16,
    /// The latest of the client's clock and the time that it was shown, as the client sends them.
    pub timestamps: Option<Timestamps>,
    /// The octets.
    pub octets: Vec<u8>,
}

/// Something to do. Actions are applied strictly in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Mark the client tuple as pending, and delete the flow that an older connection left on it.
    Pend {
        /// The connection.
        tuple: ClientTuple,
    },
    /// Look a name up and answer with [`Event::Resolved`].
    Resolve {
        /// The connection.
        tuple: ClientTuple,
        /// The name.
        host: HostName,
    },
    /// Mark the backend tuple as expected.
    Expect {
        /// The connection.
        tuple: ClientTuple,
        /// Where the answer comes from.
        backend: Backend,
    },
    /// Take that mark back.
    Unexpect {
        /// The connection.
        tuple: ClientTuple,
        /// Where no answer is awaited any more.
        backend: Backend,
    },
    /// Store what the client will not send again, before it is acknowledged: if this daemon ends, the next one begins
    /// with that ([`super::Handshakes::resume`]). Replaces what was stored before; [`Self::Finish`] ends it.
    Owe {
        /// The connection.
        tuple: ClientTuple,
        /// Everything that has been acknowledged.
        owed: Owed,
    },
    /// Send a segment to the client.
    ToClient {
        /// The connection.
        tuple: ClientTuple,
        /// The segment.
        segment: Segment,
    },
    /// Send a segment to a backend, from the client's NAT46 source.
    ToBackend {
        /// The connection.
        tuple: ClientTuple,
        /// The backend, and the client's address there.
        backend: Backend,
        /// The segment.
        segment: Segment,
    },
    /// Stop promising this on the port: a backend lacks it.
    Withdraw {
        /// The connection that showed it, on the port in question.
        tuple: ClientTuple,
        /// What the backend lacks.
        promise: Promise,
    },
    /// Write the two flow entries, then take the pending and expected marks back.
    Install {
        /// The connection.
        tuple: ClientTuple,
        /// What to write.
        splice: Box<Splice>,
    },
    /// Remember that an end of an installed flow has closed or reset it, in a segment that was passed on with
    /// [`Self::ToClient`] or [`Self::ToBackend`] and that no program has seen.
    Closing {
        /// The connection.
        tuple: ClientTuple,
        /// The end that sent the segment.
        sender: Sender,
        /// The segment's flags: FIN, RST, or both.
        flags: Flags,
    },
    /// Delete the flow that this connection installed: its backend stopped answering.
    Uninstall {
        /// The connection.
        tuple: ClientTuple,
    },
    /// Take every mark back and count the outcome: the machine asks nothing more about this connection.
    Finish {
        /// The connection.
        tuple: ClientTuple,
        /// How it ended.
        outcome: Outcome,
        /// The name, where it came that far.
        host: Option<HostName>,
        /// From the first octets of the client to the decision, where this daemon has seen both.
        elapsed: Option<Duration>,
    },
}
