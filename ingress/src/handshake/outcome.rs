//! How a handshake can end, and what each end is called in metrics.

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Client and backend are one connection.
    Spliced,
    /// No server name and no default; alert `unrecognized_name`.
    NoName,
    /// A server name that can't be a host name; alert `unrecognized_name`.
    InvalidName,
    /// The name has no IPv6 address; alert `unrecognized_name`.
    UnknownName,
    /// The name's addresses belong to no site; alert `unrecognized_name`.
    OutsidePrefixes,
    /// The operator's lists keep the name from leading anywhere; alert `unrecognized_name`.
    DeniedName,
    /// The name could not be looked up; alert `internal_error`.
    DnsFailed,
    /// Every backend answered RST, or the last one did; RST.
    BackendRefused,
    /// ICMPv6 said that the backend can't be reached; RST.
    BackendUnreachable,
    /// The backend never answered; RST.
    BackendSilent,
    /// A PostgreSQL backend that does not speak TLS; alert `internal_error`.
    BackendWithoutTls,
    /// The backend has no timestamps, which the client was promised; RST, and the port promises them no more.
    BackendWithoutTimestamps,
    /// The first octets were no TLS record; RST.
    NotTls,
    /// The ClientHello breaks the rules of TLS; alert `decode_error`.
    BadHello,
    /// The ClientHello is longer than the limit; alert `decode_error`.
    HelloTooLong,
    /// The ClientHello was not complete in time; RST.
    HelloTimeout,
    /// The client closed or reset before it was connected.
    ClientGone,
    /// Too many handshakes at once; RST.
    Overloaded,
    /// Too much at once from the client's neighbourhood (/24); RST.
    Crowded,
    /// A PostgreSQL client that wants no TLS; ErrorResponse.
    PlaintextPostgres,
    /// A PostgreSQL client sent more than its request before the answer; RST.
    EarlyData,
    /// Another connection began on the same tuple.
    Replaced,
    /// The client's port is in use with the backend, by way of another address of ours; RST.
    PortTaken,
    /// The flow table had no room; RST. What carries out the actions decides this, not the state machine.
    TableFull,
    /// The kernel did not take the flow; RST. Decided as [`Self::TableFull`].
    NotInstalled,
}

impl Outcome {
    /// Every outcome, for metrics that start at 0.
    pub const ALL: [Self; 25] = [
        Self::Spliced,
        Self::NoName,
        Self::InvalidName,
        Self::UnknownName,
        Self::OutsidePrefixes,
        Self::DeniedName,
        Self::DnsFailed,
        Self::BackendRefused,
        Self::BackendUnreachable,
        Self::BackendSilent,
        Self::BackendWithoutTls,
        Self::BackendWithoutTimestamps,
        Self::NotTls,
        Self::BadHello,
        Self::HelloTooLong,
        Self::HelloTimeout,
        Self::ClientGone,
        Self::Overloaded,
        Self::Crowded,
        Self::PlaintextPostgres,
        Self::EarlyData,
        Self::Replaced,
        Self::PortTaken,
        Self::TableFull,
        Self::NotInstalled,
    ];

    /// The value of the `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spliced => "spliced",
            Self::NoName => "no_name",
            Self::InvalidName => "invalid_name",
            Self::UnknownName => "unknown_name",
            Self::OutsidePrefixes => "outside_prefixes",
            Self::DeniedName => "denied_name",
            Self::DnsFailed => "dns_failed",
            Self::BackendRefused => "backend_refused",
            Self::BackendUnreachable => "backend_unreachable",
            Self::BackendSilent => "backend_silent",
            Self::BackendWithoutTls => "backend_without_tls",
            Self::BackendWithoutTimestamps => "backend_without_timestamps",
            Self::NotTls => "not_tls",
            Self::BadHello => "bad_hello",
            Self::HelloTooLong => "hello_too_long",
            Self::HelloTimeout => "hello_timeout",
            Self::ClientGone => "client_gone",
            Self::Overloaded => "overloaded",
            Self::Crowded => "crowded",
            Self::PlaintextPostgres => "plaintext_postgres",
            Self::EarlyData => "early_data",
            Self::Replaced => "replaced",
            Self::PortTaken => "port_taken",
            Self::TableFull => "table_full",
            Self::NotInstalled => "not_installed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct() {
        let labels: std::collections::BTreeSet<_> =
            Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        assert_eq!(labels.len(), Outcome::ALL.len());
    }
}
