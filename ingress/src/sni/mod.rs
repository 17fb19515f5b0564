//! The server name of a ClientHello, across segments and TLS records.
