//! The PostgreSQL preamble: SSLRequest, GSSENCRequest, direct TLS.
//!
//! Message formats: PostgreSQL documentation, "Frontend/Backend Protocol". Every one starts with a length that
//! includes itself and a code in the place of a protocol version.

/// Length of an SSLRequest and of a GSSENCRequest, in octets.
pub const REQUEST_LEN: usize = 8;

const SSL_REQUEST: [u8; REQUEST_LEN] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSSENC_REQUEST: [u8; REQUEST_LEN] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
const CANCEL_REQUEST: [u8; REQUEST_LEN] = [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e];
/// A TLS handshake record.
const DIRECT_TLS: u8 = 0x16;
/// More than any server takes for a startup message.
const MAX_STARTUP: u32 = 10_000;

/// What a client may ask for before TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// "May I speak TLS?"
    Ssl,
    /// "May I speak GSSAPI encryption?"
    GssEnc,
}

impl Request {
    /// The request on the wire.
    #[must_use]
    pub const fn octets(self) -> &'static [u8; REQUEST_LEN] {
        match self {
            Self::Ssl => &SSL_REQUEST,
            Self::GssEnc => &GSSENC_REQUEST,
        }
    }

    /// The one answer that leads to TLS: this is what the client is told, and what the backend must say too.
    #[must_use]
    pub const fn answer(self) -> u8 {
        match self {
            Self::Ssl => b'S',
            Self::GssEnc => b'N',
        }
    }
}

/// What the first octets of a client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Too few octets to tell.
    Incomplete,
    /// A request that is answered with one octet.
    Request(Request),
    /// A TLS record at once (`sslnegotiation=direct`, PostgreSQL 17).
    DirectTls,
    /// A startup message: a session without TLS, or without a server name at least.
    Startup,
    /// A CancelRequest without TLS: nothing in it says to which backend.
    Cancel,
    /// Nothing that PostgreSQL knows.
    Unknown,
}

impl Opening {
    /// Reads the octets that a client has sent so far.
    #[must_use]
    pub fn read(octets: &[u8]) -> Self {
        if octets.first() == Some(&DIRECT_TLS) {
            return Self::DirectTls;
        }
        let Some(head) = octets.first_chunk::<REQUEST_LEN>() else {
            // No message of this protocol is longer than 16 bits, so the first octet is 0.
            return match octets.first() {
                None | Some(0) => Self::Incomplete,
                Some(_) => Self::Unknown,
            };
        };
        match *head {
            SSL_REQUEST => Self::Request(Request::Ssl),
            GSSENC_REQUEST => Self::Request(Request::GssEnc),
            CANCEL_REQUEST => Self::Cancel,
            [a, b, c, d, 0, 2 | 3, ..]
                if (8..=MAX_STARTUP).contains(&u32::from_be_bytes([a, b, c, d])) =>
            {
                Self::Startup
            }
            _ => Self::Unknown,
        }
    }
}

/// How many requests a stream begins with; none where it is TLS.
#[must_use]
pub fn preamble(octets: &[u8]) -> usize {
    let requests = octets.chunks_exact(REQUEST_LEN);
    requests.take_while(|head| matches!(Opening::read(head), Opening::Request(_))).count()
}

/// The ErrorResponse for a client that wants no TLS.
#[must_use]
pub fn tls_required() -> Vec<u8> {
    let mut fields = Vec::new();
    for (kind, text) in [
        (b'S', "FATAL"),
        (b'V', "FATAL"),
        (b'C', "28000"),
        (
            b'M',
            "this address needs SSL with a server name: use sslmode=require and a host name, not an IP address",
        ),
        (
            b'H',
            "The server is chosen by the name in the TLS handshake (SNI); libpq sends it since version 14.",
        ),
    ] {
        fields.push(kind);
        fields.extend_from_slice(text.as_bytes());
        fields.push(0);
    }
    fields.push(0);
    let length = (fields.len() as u32 + 4).to_be_bytes();
    [b"E", &length[..], &fields].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STARTUP: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";

    #[test]
    fn openings() {
        for (octets, opening) in [
            (&SSL_REQUEST[..], Opening::Request(Request::Ssl)),
            (&GSSENC_REQUEST, Opening::Request(Request::GssEnc)),
            (b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02", Opening::Cancel),
            (STARTUP, Opening::Startup),
            (&[0x16, 3, 1], Opening::DirectTls),
            (b"GET / HT", Opening::Unknown),
            (b"\0\0\0\x08\x04\xd2\x16\x31", Opening::Unknown),
            (b"\0\0\0\x04\0\x03\0\0", Opening::Unknown),
            (b"", Opening::Incomplete),
        ] {
            assert_eq!(Opening::read(octets), opening, "{octets:?}");
        }
        for cut in 0..REQUEST_LEN {
            assert_eq!(Opening::read(&SSL_REQUEST[..cut]), Opening::Incomplete);
            assert_eq!(Opening::read(&STARTUP[..cut]), Opening::Incomplete);
        }
    }

    #[test]
    fn error_response_is_well_formed() {
        let message = tls_required();
        assert_eq!(message[0], b'E');
        let length = u32::from_be_bytes(message[1..5].try_into().unwrap());
        assert_eq!(length as usize, message.len() - 1);
        assert!(message.ends_with(&[0, 0]));
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..20)) {
            // What was told from fewer octets stays true with more.
            let whole = Opening::read(&octets);
            for cut in 0..octets.len() {
                let part = Opening::read(&octets[..cut]);
                prop_assert!(part == Opening::Incomplete || part == whole);
            }
        }
    }
}
