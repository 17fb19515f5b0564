//! A connection from inside that a policy remembers, as operators see it.

use std::net::SocketAddrV6;

use ingress_common::policy::{Connection, ConnectionKey, Stage};
use serde::{Deserialize, Serialize};

/// What `ingressctl policy connections -o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Version of this format: [`Connections::VERSION`].
    pub version: u32,
    /// The one on which the inside spoke last comes first.
    pub connections: Vec<FromInside>,
}

/// A connection that began inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromInside {
    /// IP protocol number (6 is TCP, 17 UDP).
    pub protocol: u8,
    /// The end inside, which has begun it; port 0 where the protocol has none.
    pub inside: SocketAddrV6,
    /// The end outside; port 0 where the protocol has none.
    pub outside: SocketAddrV6,
    /// How far it is; none where the protocol does not tell.
    pub state: Option<ConnectionState>,
    /// Seconds since the inside last spoke.
    pub idle_seconds: u64,
    /// Seconds for which answers are still let in, should the inside stay silent.
    pub left_seconds: u64,
}

/// How far a TCP connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// Nobody outside has spoken.
    Opening,
    /// Both ends have.
    Established,
    /// Both have ended it, or one has reset it.
    Closing,
}

impl Connections {
    /// Changes only if a field goes or means something else.
    pub const VERSION: u32 = 1;

    /// What the map holds, without what is over: that stays in it until somebody needs its place.
    #[must_use]
    pub fn at(now: u64, entries: &[(ConnectionKey, Connection)]) -> Self {
        let alive = entries.iter().filter(|(key, entry)| !entry.is_over(key.protocol, now));
        let mut connections: Vec<FromInside> =
            alive.map(|(key, entry)| FromInside::at(now, key, entry)).collect();
        connections.sort_by_key(|one| (one.idle_seconds, one.inside, one.outside, one.protocol));
        Self { version: Self::VERSION, connections }
    }
}

impl FromInside {
    fn at(now: u64, key: &ConnectionKey, entry: &Connection) -> Self {
        const SECOND: u64 = 1_000_000_000;
        let end = |address: [u8; 16], port: [u8; 2]| {
            SocketAddrV6::new(address.into(), u16::from_be_bytes(port), 0, 0)
        };
        let idle = now.saturating_sub(entry.last_seen);
        Self {
            protocol: key.protocol,
            inside: end(key.inside, key.inside_port),
            outside: end(key.outside, key.outside_port),
            state: entry.stage(key.protocol).map(ConnectionState::from),
            idle_seconds: idle / SECOND,
            left_seconds: entry.limit(key.protocol).saturating_sub(idle) / SECOND,
        }
    }
}

impl From<Stage> for ConnectionState {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Opening => Self::Opening,
            Stage::Established => Self::Established,
            Stage::Closing => Self::Closing,
        }
    }
}

impl ConnectionState {
    /// The name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingress_common::{
        ip::{TCP, UDP},
        tcp::Flags,
    };

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_is_over_is_not_listed_and_the_latest_comes_first() {
        let key = |protocol, port: u16| ConnectionKey {
            inside: [1; 16],
            outside: [2; 16],
            inside_port: port.to_be_bytes(),
            outside_port: [1, 187],
            protocol,
            reserved: [0; 3],
        };
        let entry =
            |protocol, flags, at: u64| Connection::begin(protocol, flags, at * SECOND).unwrap();
        let mut spoken = entry(TCP, Flags::SYN, 100);
        assert!(spoken.answers(TCP, Flags::SYN.with(Flags::ACK), 100 * SECOND));
        let entries = [
            (key(UDP, 1), entry(UDP, Flags::default(), 100)),
            (key(TCP, 2), spoken),
            (key(TCP, 3), entry(TCP, Flags::SYN, 390)),
            (key(UDP, 4), entry(UDP, Flags::default(), 350)),
        ];
        let listed = Connections::at(401 * SECOND, &entries).connections;
        let rows: Vec<_> = listed
            .iter()
            .map(|one| (one.inside.port(), one.state, one.idle_seconds, one.left_seconds))
            .collect();
        assert_eq!(
            rows,
            [
                (3, Some(ConnectionState::Opening), 11, 239),
                (4, None, 51, 249),
                (2, Some(ConnectionState::Established), 301, 7169),
            ]
        );
    }
}
