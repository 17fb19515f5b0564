//! What has happened, in numbers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What has happened. Traffic and SYN cookies are counted in pinned maps, which outlive the daemon; everything else is
/// counted from the daemon's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Every path in every direction.
    pub traffic: Vec<Traffic>,
    /// Flows that this daemon installed.
    pub flows_opened: u64,
    /// Flows that ended, by cause; every cause there is.
    pub flows_closed: Vec<Count>,
    /// SYN cookies, by result; every result there is.
    pub syn_cookies: Vec<Count>,
    /// Handshakes, by outcome; every outcome there is.
    pub handshakes: Vec<Count>,
    /// Names looked up, by result.
    pub dns_lookups: Vec<Count>,
}

/// What went one way on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Which path.
    pub path: Path,
    /// Which way.
    pub direction: Direction,
    /// Packets; a batch that the kernel merged (GRO) counts its segments.
    pub packets: u64,
    /// Bytes from the IP header on.
    pub bytes: u64,
}

/// How packets are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// IPv6 as it is.
    Ipv6,
    /// IPv4, translated.
    Nat46,
}

impl Path {
    /// The name in answers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv6 => "ipv6",
            Self::Nat46 => "nat46",
        }
    }
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the sites.
    In,
    /// To the world.
    Out,
}

impl Direction {
    /// The name in answers and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// One value of a label and how often it was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The label's value.
    pub name: Cow<'static, str>,
    /// How often.
    pub count: u64,
}

impl Count {
    /// A label's value and its count.
    pub fn new(name: impl Into<Cow<'static, str>>, count: u64) -> Self {
        Self { name: name.into(), count }
    }
}

/// What was dropped; every reason there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// In the order of the enum of reasons.
    pub drops: Vec<DropCount>,
}

/// A reason to drop packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// Its name, as the label has it.
    pub reason: Cow<'static, str>,
    /// What it means.
    pub description: Cow<'static, str>,
    /// How many packets.
    pub count: u64,
}
