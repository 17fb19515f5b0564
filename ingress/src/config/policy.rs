//! `[policy]` and `[[allow]]`: who may reach what, in the operator's terms.

use std::{fmt, net::IpAddr, ops::RangeInclusive};

use ipnet::{IpNet, Ipv6Net};

use crate::host_name::HostName;

/// Who may reach the sites.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What of the world's IPv6 gets in.
    pub ipv6: Ipv6Policy,
    /// Clients that never connect, by name or over IPv6.
    pub deny_clients: Vec<IpNet>,
    /// If there are any: clients that may.
    pub allow_clients: Vec<IpNet>,
    /// Names that lead nowhere.
    pub deny_names: Vec<NamePattern>,
    /// If there are any: names that lead somewhere.
    pub allow_names: Vec<NamePattern>,
    /// What gets in where IPv6 is closed.
    pub allow: Vec<Allow>,
}

/// What of the world's IPv6 gets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6Policy {
    /// Everything: plain routing.
    #[default]
    Open,
    /// What an `[[allow]]` lets in, and answers.
    Closed,
}

/// An `[[allow]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// Inside the sites' prefixes; never empty.
    pub to: Vec<Ipv6Net>,
    /// The services; never empty.
    pub services: Vec<AllowedService>,
    /// Empty means everybody.
    pub from: Vec<Ipv6Net>,
}

/// A protocol and its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedService {
    /// None means every one.
    pub protocol: Option<u8>,
    /// All of them where the protocol has none.
    pub ports: RangeInclusive<u16>,
}

/// Which names an entry of a list means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// This one.
    Name(HostName),
    /// All names below this one, but not the name itself. Lower-case, without the dot at its end; it may be a top-level
    /// domain, which is no [`HostName`].
    Below(String),
}

/// What a pair of lists says of a name or a client, and by which entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling<'a, T> {
    /// No list speaks of it, and none has to.
    Unlisted,
    /// The list of those that may has it.
    Allowed(&'a T),
    /// The list of those that may not has it, whatever the other says.
    Denied(&'a T),
    /// The list of those that may has others.
    NotAllowed,
}

impl Policy {
    /// What is to become of a name.
    pub fn rule_on(&self, name: &HostName) -> Ruling<'_, NamePattern> {
        Ruling::of(&self.deny_names, &self.allow_names, |pattern| pattern.covers(name))
    }

    /// Whether there is a list of clients at all.
    pub fn lists_clients(&self) -> bool {
        !self.deny_clients.is_empty() || !self.allow_clients.is_empty()
    }

    /// What is to become of a client.
    pub fn rule_on_client(&self, address: IpAddr) -> Ruling<'_, IpNet> {
        Ruling::of(&self.deny_clients, &self.allow_clients, |net| net.contains(&address))
    }
}

impl<'a, T> Ruling<'a, T> {
    fn of(deny: &'a [T], allow: &'a [T], covers: impl Fn(&T) -> bool) -> Self {
        if let Some(entry) = deny.iter().find(|entry| covers(entry)) {
            return Self::Denied(entry);
        }
        match allow.iter().find(|entry| covers(entry)) {
            Some(entry) => Self::Allowed(entry),
            None if allow.is_empty() => Self::Unlisted,
            None => Self::NotAllowed,
        }
    }

    /// Whether it leads somewhere.
    pub const fn lets_through(&self) -> bool {
        match self {
            Self::Unlisted | Self::Allowed(_) => true,
            Self::Denied(_) | Self::NotAllowed => false,
        }
    }
}

impl NamePattern {
    /// The error completes "the name …".
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let Some(above) = text.strip_prefix("*.") else {
            return super::host_name(text).map(Self::Name);
        };
        // All names below a top-level domain are a fair wish.
        if above.contains('.') {
            return super::host_name(above).map(|name| Self::Below(name.as_str().to_owned()));
        }
        let below = super::host_name(&format!("x.{above}"))?;
        Ok(Self::Below(below.as_str()["x.".len()..].to_owned()))
    }

    fn covers(&self, name: &HostName) -> bool {
        match self {
            Self::Name(listed) => listed == name,
            Self::Below(above) => {
                name.as_str().strip_suffix(above).is_some_and(|rest| rest.ends_with('.'))
            }
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Below(above) => write!(f, "*.{above}"),
        }
    }
}

impl Ipv6Policy {
    /// The name in the configuration and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}
