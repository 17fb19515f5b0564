//! A host name, as clients ask for it and as it is configured, compared and looked up.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A fully qualified host name: lower case, no trailing dot, `[a-z0-9_-]` labels, at least two of them,
/// not an IP literal. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// Why a string is no [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// More than 253 characters.
    #[error("the name is longer than 253 characters")]
    TooLong,
    /// Two dots in a row, or one at the beginning.
    #[error("each label between dots needs 1 to 63 characters")]
    EmptyLabel,
    /// A label above 63 characters.
    #[error("each label between dots needs 1 to 63 characters")]
    LongLabel,
    /// A character outside `[A-Za-z0-9_.-]`.
    #[error("only letters, digits, `-`, `_` and dots may stand in a host name")]
    Character,
    /// A single label.
    #[error("the name has no dot; write it in full, as `host.example.org`")]
    Unqualified,
    /// An IPv4 or IPv6 address.
    #[error("this is an IP address, not a name")]
    IpLiteral,
}

impl HostName {
    /// Reads a name as it stands in a ClientHello: capital letters and a dot at its end are not kept.
    ///
    /// # Errors
    /// Where it is no fully qualified host name.
    pub fn from_wire(octets: &[u8]) -> Result<Self, NameError> {
        if octets.is_empty() {
            return Err(NameError::Empty);
        }
        if is_ip_literal(octets) {
            return Err(NameError::IpLiteral);
        }
        let name = octets.strip_suffix(b".").unwrap_or(octets);
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        let mut lower = String::with_capacity(name.len());
        for &octet in name {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    lower.push(char::from(octet.to_ascii_lowercase()));
                }
                _ => return Err(NameError::Character),
            }
        }
        if lower.split('.').any(str::is_empty) {
            return Err(NameError::EmptyLabel);
        }
        if lower.split('.').any(|label| label.len() > MAX_LABEL) {
            return Err(NameError::LongLabel);
        }
        if !lower.contains('.') {
            return Err(NameError::Unqualified);
        }
        Ok(Self(lower.into()))
    }

    /// The name, without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Clients that mean an address send it in many shapes; no top-level domain is a number (RFC 3696 §2).
fn is_ip_literal(octets: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(octets) else { return false };
    let bare = text.strip_suffix('.').unwrap_or(text);
    let unbracketed =
        bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bare);
    if bare.parse::<Ipv4Addr>().is_ok() || unbracketed.contains(':') {
        return true;
    }
    let top = bare.rsplit('.').next().unwrap_or_default();
    !top.is_empty() && top.bytes().all(|octet| octet.is_ascii_digit())
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::from_wire(text.as_bytes())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_stand() {
        for (given, kept) in [
            ("www.example.org", "www.example.org"),
            ("WWW.Example.ORG.", "www.example.org"),
            ("_dmarc.xn--bcher-kva.example", "_dmarc.xn--bcher-kva.example"),
            ("1.2.3.example", "1.2.3.example"),
        ] {
            assert_eq!(given.parse::<HostName>().unwrap().as_str(), kept);
        }
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(longest.parse::<HostName>().is_ok());
    }

    #[test]
    fn names_that_fall() {
        for (given, error) in [
            ("", NameError::Empty),
            ("localhost", NameError::Unqualified),
            (".", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (".a.b", NameError::EmptyLabel),
            ("a.b..", NameError::EmptyLabel),
            ("a b.c", NameError::Character),
            ("a.b\0", NameError::Character),
            ("a/b.c", NameError::Character),
            ("bücher.example", NameError::Character),
            ("192.0.2.1", NameError::IpLiteral),
            ("192.0.2.1.", NameError::IpLiteral),
            ("2001:db8::1", NameError::IpLiteral),
            ("[2001:db8::1]", NameError::IpLiteral),
            ("[foo.example]", NameError::Character),
        ] {
            assert_eq!(given.parse::<HostName>(), Err(error), "{given:?}");
        }
        assert_eq!(format!("{}.b", "a".repeat(64)).parse::<HostName>(), Err(NameError::LongLabel));
        assert_eq!("a.".repeat(127).parse::<HostName>().map(|name| name.as_str().len()), Ok(253));
        assert_eq!(format!("{}b", "a.".repeat(127)).parse::<HostName>(), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn any_octets_give_a_clean_name_or_none(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(name) = HostName::from_wire(&octets) {
                prop_assert!(name.as_str().len() <= MAX_NAME);
                prop_assert_eq!(&name.to_string().parse::<HostName>().unwrap(), &name);
            }
        }
    }
}
