//! The asking side, without a runtime.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Request, Response};

/// Long enough for an `explain` that waits for DNS, and for a table of a million flows.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("ingressd does not answer on {}: {source}; is it running? (`systemctl status ingress`)", path.display())]
    NotReachable {
        /// The socket.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The socket is not ours to use.
    #[error("{} may not be opened; become root, or a member of the group `ingress`", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// Whoever listens there speaks something else.
    #[error("{} gave no proper answer: {reason}; are ingressd and ingressctl of one version?", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Asks the daemon that listens on a socket.
pub fn call(path: &Path, request: &Request) -> Result<Response, CallError> {
    let stream = UnixStream::connect(path).map_err(|source| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            CallError::NotPermitted { path }
        } else {
            CallError::NotReachable { path, source }
        }
    })?;
    exchange(stream, request)
        .map_err(|error| CallError::NoAnswer { path: path.to_owned(), reason: error.to_string() })
}

fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<Response> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
    }
    Ok(serde_json::from_slice(&answer)?)
}
