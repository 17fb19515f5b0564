//! TLS: the octets of a client's stream, cut anywhere, give one answer.

use ingress::host_name::HostName;
use ingress::sni::{Hello, HelloError, HelloReader, ServerName};

use crate::cursor::Cursor;

/// Up to 15 cuts, then the stream.
pub fn run(input: &[u8]) {
    let mut cursor = Cursor::new(input);
    let cuts: Vec<usize> = (0..cursor.u8() % 16).map(|_| cursor.u16().into()).collect();
    let stream = cursor.rest();
    let whole = read([stream]);

    let mut rest = stream;
    let mut pieces: Vec<&[u8]> = cuts
        .into_iter()
        .map(|cut| {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            piece
        })
        .collect();
    pieces.push(rest);
    assert_eq!(read(pieces), whole, "the cuts make a difference");
    if let Ok(Some(Hello { server_name: ServerName::Host(name), .. })) = &whole {
        check(name);
    }
}

/// What a reader says in the end.
pub fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Hello>, HelloError> {
    let mut reader = HelloReader::default();
    for piece in pieces {
        if let Some(hello) = reader.feed(piece)? {
            return Ok(Some(hello));
        }
    }
    Ok(None)
}

/// What DNS, the log and the metrics take for granted.
fn check(name: &HostName) {
    let text = name.as_str();
    assert!(text.len() <= 253 && text.contains('.'), "{text}");
    assert!(text.split('.').all(|label| (1..=63).contains(&label.len())), "{text}");
    let plain = |octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    assert!(text.bytes().all(plain), "{text}");
    assert_eq!(text.parse().as_ref(), Ok(name));
}
