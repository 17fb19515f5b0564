//! The shape of the file: which keys there are and what kind of value each has. What the values mean is
//! checked in `check`.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{Ipv6Policy, Problem, Protocol, Xdp, advice::advise};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub uplink: Option<RawUplink>,
    #[serde(default)]
    pub site: Vec<RawSite>,
    pub nat46: Option<RawNat46>,
    #[serde(default)]
    pub listen: Vec<RawListen>,
    #[serde(default)]
    pub dns: RawDns,
    #[serde(default)]
    pub hosts: BTreeMap<Spanned<String>, Spanned<OneOrMany>>,
    #[serde(default)]
    pub policy: RawPolicy,
    #[serde(default)]
    pub allow: Vec<Spanned<RawAllow>>,
    #[serde(default)]
    pub metrics: RawMetrics,
    #[serde(default)]
    pub control: RawControl,
    #[serde(default)]
    pub daemon: RawDaemon,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUplink {
    pub interface: Spanned<String>,
    #[serde(default)]
    pub xdp: Xdp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSite {
    pub name: Spanned<String>,
    pub interface: Spanned<String>,
    pub prefixes: Spanned<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNat46 {
    pub prefix: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListen {
    pub ports: Spanned<Vec<Spanned<i64>>>,
    #[serde(default)]
    pub protocol: Protocol,
    pub address: Option<Spanned<OneOrMany>>,
    pub default_host: Option<Spanned<String>>,
    pub timestamps: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDns {
    pub servers: Vec<Spanned<String>>,
    pub timeout: Option<Spanned<f64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMetrics {
    pub listen: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawControl {
    pub socket: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDaemon {
    pub bpffs: Option<Spanned<String>>,
    pub flows: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPolicy {
    pub ipv6: Option<Ipv6Policy>,
    pub deny_clients: Vec<Spanned<String>>,
    pub allow_clients: Vec<Spanned<String>>,
    pub deny_names: Vec<Spanned<String>>,
    pub allow_names: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAllow {
    pub to: Spanned<Vec<Spanned<String>>>,
    pub protocol: Option<Spanned<RawNumber>>,
    pub ports: Option<Spanned<Vec<Spanned<RawNumber>>>>,
    pub from: Option<Spanned<Vec<Spanned<String>>>>,
}

/// A number, or a word for some.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number or a string")]
pub(super) enum RawNumber {
    Number(i64),
    Text(String),
}

impl fmt::Display for RawNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// A string, or a list of strings. Only the whole knows its place in the text.
pub(super) struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![value.to_owned()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany(values))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Reads the shape. TOML's and serde's own errors come one at a time.
pub(super) fn parse(text: &str) -> Result<RawConfig, Problem> {
    toml::from_str(text).map_err(|error| {
        let (what, remedy) = advise(error.message(), text, error.span());
        match error.span() {
            Some(span) => Problem::at(text, first_line(text, span), what, remedy),
            None => Problem::missing(what, remedy),
        }
    })
}

/// A missing key is reported with its whole table as span, of which the head is enough.
fn first_line(text: &str, span: Range<usize>) -> Range<usize> {
    let end = text[span.start.min(text.len())..].find('\n').map_or(span.end, |n| span.start + n);
    span.start..span.end.min(end)
}
