//! The body of a ClientHello: what it says about the server's name.

use tls_parser::{SNIType, TlsExtension};
use tls_parser::{parse_tls_extension_sni_content, parse_tls_handshake_client_hello};

use super::HelloError;
use crate::host_name::{HostName, NameError};

const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// What was read from a complete ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name that the client asks for; with Encrypted ClientHello, the outer one.
    pub server_name: ServerName,
    /// The hello carries an `encrypted_client_hello` extension, be it real or GREASE.
    pub encrypted: bool,
}

/// The server name of a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    /// A host name.
    Host(HostName),
    /// None, or an IP address, which RFC 6066 §3 forbids and some clients send nevertheless.
    Absent,
    /// Something that can't be the name of a host. Never a reason to use a default.
    Invalid(NameError),
}

/// Reads the body of a ClientHello, which must fill `body` exactly.
pub(super) fn parse(body: &[u8]) -> Result<Hello, HelloError> {
    let (rest, hello) =
        parse_tls_handshake_client_hello(body).map_err(|_| HelloError::Malformed)?;
    if !rest.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut server_name = None;
    let mut encrypted = false;
    let mut extensions = hello.ext.unwrap_or_default();
    // Walked here and not by the crate: the content of the others is the backend's business.
    while !extensions.is_empty() {
        let (kind, content, rest) = split_extension(extensions).ok_or(HelloError::Malformed)?;
        extensions = rest;
        match kind {
            EXTENSION_SERVER_NAME if server_name.is_some() => return Err(HelloError::Malformed),
            EXTENSION_SERVER_NAME => server_name = Some(parse_server_name(content)?),
            EXTENSION_ENCRYPTED_CLIENT_HELLO => encrypted = true,
            _ => {}
        }
    }
    Ok(Hello { server_name: server_name.unwrap_or(ServerName::Absent), encrypted })
}

fn split_extension(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (&[kind_high, kind_low, high, low], rest) = octets.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(u16::from_be_bytes([high, low]).into())?;
    Some((u16::from_be_bytes([kind_high, kind_low]), content, rest))
}

/// RFC 6066 §3: a list with at most one name of each type.
fn parse_server_name(content: &[u8]) -> Result<ServerName, HelloError> {
    let (rest, extension) =
        parse_tls_extension_sni_content(content).map_err(|_| HelloError::Malformed)?;
    let TlsExtension::SNI(names) = extension else { return Err(HelloError::Malformed) };
    // The crate is content with an empty extension, and with a list that ends in half an entry.
    let listed: usize = names.iter().map(|(_, name)| 3 + name.len()).sum();
    if !rest.is_empty() || content.len() != 2 + listed || names.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut hosts = names.iter().filter(|(kind, _)| *kind == SNIType::HostName);
    let Some((_, name)) = hosts.next() else { return Ok(ServerName::Absent) };
    if hosts.next().is_some() {
        return Err(HelloError::Malformed);
    }
    Ok(match HostName::from_wire(name) {
        Ok(host) => ServerName::Host(host),
        Err(NameError::IpLiteral) => ServerName::Absent,
        Err(error) => ServerName::Invalid(error),
    })
}
