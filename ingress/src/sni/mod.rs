//! The server name of a ClientHello, across segments and TLS records.

mod hello;
mod records;
#[cfg(test)]
mod tests;

pub use hello::{Hello, ServerName};
pub use records::{HelloError, HelloReader, MAX_HELLO, MAX_RECORDS, MAX_STREAM};
