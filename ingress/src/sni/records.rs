//! Takes the octets of a TLS stream as they come and gathers the first handshake message from its records.

use thiserror::Error;

use super::hello::{self, Hello};

/// The largest ClientHello body, in octets. Post-quantum hellos have two thousand, session tickets and client
/// certificates bring a few thousand more.
pub const MAX_HELLO: usize = 16 * 1024;
/// The most records that one ClientHello may be spread over.
pub const MAX_RECORDS: usize = 64;
/// The most octets of a stream that a ClientHello can take, record and message headers included.
pub const MAX_STREAM: usize = MAX_HELLO + MESSAGE_HEADER + MAX_RECORDS * RECORD_HEADER;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
const CONTENT_HANDSHAKE: u8 = 22;
const MESSAGE_CLIENT_HELLO: u8 = 1;
/// RFC 8446 §5.1.
const MAX_RECORD: usize = 1 << 14;

/// Why a stream holds no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// The first octets are no TLS record.
    #[error("not TLS")]
    NotTls,
    /// TLS, but no well-formed ClientHello.
    #[error("malformed ClientHello")]
    Malformed,
    /// The message, or the number of its records, exceeds the limit.
    #[error("ClientHello above {MAX_HELLO} octets or {MAX_RECORDS} records")]
    TooLong,
}

/// An incremental reader: give it the stream in pieces of any size, until it has the hello or an error.
#[derive(Debug, Default)]
pub struct HelloReader {
    header: Vec<u8>,
    /// Octets of the current record that are still to come.
    remaining: usize,
    records: usize,
    message: Vec<u8>,
}

impl HelloReader {
    /// Takes the next octets of the stream. What follows the hello is not looked at.
    ///
    /// # Errors
    /// As soon as the octets show that no acceptable ClientHello will come. The reader is spent then.
    pub fn feed(&mut self, mut octets: &[u8]) -> Result<Option<Hello>, HelloError> {
        while !octets.is_empty() {
            if self.remaining == 0 {
                let wanted = RECORD_HEADER - self.header.len();
                let (head, rest) = octets.split_at(wanted.min(octets.len()));
                self.header.extend_from_slice(head);
                octets = rest;
                self.check_record_header()?;
                continue;
            }
            let (content, rest) = octets.split_at(self.remaining.min(octets.len()));
            self.remaining -= content.len();
            octets = rest;
            self.message.extend_from_slice(content);
            if let Some(body) = self.body()? {
                return hello::parse(body).map(Some);
            }
        }
        Ok(None)
    }

    /// Judges each octet of a record header as soon as it is there.
    fn check_record_header(&mut self) -> Result<(), HelloError> {
        let strange = if self.records == 0 { HelloError::NotTls } else { HelloError::Malformed };
        // The minor version is not looked at: hellos carry 3.0 to 3.4.
        if self.header.first().is_some_and(|&content| content != CONTENT_HANDSHAKE)
            || self.header.get(1).is_some_and(|&major| major != 3)
        {
            return Err(strange);
        }
        if let &[_, _, _, high, low] = self.header.as_slice() {
            self.remaining = usize::from(u16::from_be_bytes([high, low]));
            self.records += 1;
            self.header.clear();
            // RFC 8446 §5.1: no empty fragments of handshake messages.
            if self.remaining == 0 || self.remaining > MAX_RECORD {
                return Err(strange);
            }
            if self.records > MAX_RECORDS {
                return Err(HelloError::TooLong);
            }
        }
        Ok(())
    }

    /// The message's body once it is whole.
    fn body(&self) -> Result<Option<&[u8]>, HelloError> {
        if self.message.first().is_some_and(|&kind| kind != MESSAGE_CLIENT_HELLO) {
            return Err(HelloError::Malformed);
        }
        let Some((&[_, high, middle, low], body)) = self.message.split_first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > MAX_HELLO {
            return Err(HelloError::TooLong);
        }
        Ok(body.get(..length))
    }
}
