//! The server name of a ClientHello, across segments and TLS records.

mod name;

pub use name::{HostName, NameError};
