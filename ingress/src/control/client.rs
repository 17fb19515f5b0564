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
    /// Whoever listens there takes too long.
    #[error(
        "ingressd has not answered on {} for {} s and may still be at work; ask again, or look at its log \
         (`journalctl -u ingress`)",
        path.display(),
        patience.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
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
    call_within(PATIENCE, path, request)
}

fn call_within(patience: Duration, path: &Path, request: &Request) -> Result<Response, CallError> {
    let stream = UnixStream::connect(path).map_err(|source| {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            CallError::NotPermitted { path }
        } else {
            CallError::NotReachable { path, source }
        }
    })?;
    exchange(patience, stream, request).map_err(|error| {
        let path = path.to_owned();
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            return CallError::Silent { path, patience };
        }
        CallError::NoAnswer { path, reason: error.to_string() }
    })
}

fn exchange(patience: Duration, mut stream: UnixStream, request: &Request) -> io::Result<Response> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_daemon_that_takes_too_long_is_no_other_version() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let patience = Duration::from_millis(50);
        let error = call_within(patience, &path, &Request::Status).unwrap_err();
        assert!(matches!(error, CallError::Silent { .. }), "{error}");
        assert!(error.to_string().contains("may still be at work"), "{error}");
    }
}
