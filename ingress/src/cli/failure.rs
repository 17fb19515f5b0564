//! Why ingressctl did not do what it was asked to, and its exit code.

use std::{fmt, io, process::ExitCode};

use crate::control::{CallError, ErrorKind};

/// A message for the operator and a code for scripts.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    message: String,
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// The names and numbers of `sysexits.h`.
const EX_UNAVAILABLE: u8 = 69;
const EX_NOPERM: u8 = 77;
const EX_CONFIG: u8 = 78;

impl Failure {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// Whether all that there is to say has been printed.
    pub fn is_silent(&self) -> bool {
        self.message.is_empty()
    }

    pub(super) fn usage(message: &str) -> Self {
        Self { code: USAGE, message: message.to_owned() }
    }

    pub(super) fn failed(message: &str) -> Self {
        Self { code: FAILED, message: message.to_owned() }
    }

    pub(super) fn silent() -> Self {
        Self { code: FAILED, message: String::new() }
    }

    /// Nobody reads on, which ends the work but is no failure.
    pub(super) fn closed() -> Self {
        Self { code: 0, message: String::new() }
    }

    pub(super) fn refused(kind: ErrorKind, message: &str) -> Self {
        let code = match kind {
            ErrorKind::Configuration => EX_CONFIG,
            ErrorKind::Request | ErrorKind::Failed => FAILED,
        };
        Self { code, message: message.to_owned() }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let code = match error {
            CallError::NotReachable { .. } => EX_UNAVAILABLE,
            CallError::NotPermitted { .. } => EX_NOPERM,
            CallError::Silent { .. } | CallError::NoAnswer { .. } => FAILED,
        };
        Self { code, message: error.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { code: FAILED, message: format!("the output cannot be written: {error}") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
