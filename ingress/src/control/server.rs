//! The answering side: a unix socket for root and the group `ingress`.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::unistd::Group;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

use super::{ErrorKind, Request, Response};

/// Requests are short.
const LONGEST_LINE: u64 = 64 * 1024;
const MOST_CONNECTIONS: usize = 32;
const IDLE: Duration = Duration::from_secs(60);
const GROUP: &str = "ingress";

/// What stands behind the socket.
pub trait Control: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;
}

/// The socket, listening; its file goes with it.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to not remove the file of a successor.
    identity: (u64, u64),
}

impl Server {
    /// Makes the socket, in place of one that a dead daemon left. Must be called within a tokio runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        if let Ok(Some(group)) = Group::from_name(GROUP) {
            chown(path, None, Some(group.gid.as_raw()))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        let file = fs::symlink_metadata(path)?;
        Ok(Self { listener, path: path.to_owned(), identity: (file.dev(), file.ino()) })
    }

    /// Serves until it is dropped.
    pub async fn serve(self, control: Arc<impl Control>) {
        let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(permit) = connections.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let control = control.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, &*control).await {
                            tracing::debug!(%error, "a control connection broke off");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the control socket stays behind");
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !file.file_type().is_socket() {
        let what = format!("{} is in the way and is not a socket; move it", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let what = format!(
            "another ingressd answers on {}; stop it, or give this one its own [control] socket and [daemon] bpffs",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::AddrInUse, what));
    }
    fs::remove_file(path)
}

async fn converse(stream: UnixStream, control: &impl Control) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(LONGEST_LINE);
        timeout(IDLE, limited.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let response = match serde_json::from_slice(&line) {
            Ok(request) if whole => control.answer(request).await,
            Ok(_) => refuse("the line does not end"),
            Err(error) => refuse(&error.to_string()),
        };
        // A large table takes its time.
        let json = tokio::task::spawn_blocking(move || serde_json::to_vec(&response));
        let mut answer = json.await??;
        answer.push(b'\n');
        timeout(IDLE, writer.write_all(&answer)).await??;
        if !whole {
            return Ok(());
        }
    }
}

fn refuse(reason: &str) -> Response {
    Response::Error {
        kind: ErrorKind::Request,
        message: format!("ingressd does not understand the request: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{CallError, Filter, FlowState, call};

    struct Echo;

    impl Control for Echo {
        async fn answer(&self, request: Request) -> Response {
            Response::failed(serde_json::to_string(&request).unwrap())
        }
    }

    async fn ask(path: &Path, request: Request) -> Result<Response, CallError> {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || call(&path, &request)).await.unwrap()
    }

    #[tokio::test]
    async fn requests_arrive_as_they_were_sent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/control.sock");
        let server = Server::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let serving = tokio::spawn(server.serve(Arc::new(Echo)));

        let filter = Filter {
            client: Some("192.0.2.0/24".parse().unwrap()),
            state: Some(FlowState::Closing),
            ..Filter::default()
        };
        for request in [
            Request::Status,
            Request::Flows { filter: filter.clone() },
            Request::Kill { filter },
            Request::Flush { name: None },
            Request::Explain { name: "a.b".to_owned() },
        ] {
            let echoed = Response::failed(serde_json::to_string(&request).unwrap());
            assert_eq!(ask(&path, request).await.unwrap(), echoed);
        }

        let second = Server::bind(&path).map(drop).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        assert!(!path.exists());
        let error = ask(&path, Request::Status).await.unwrap_err();
        assert!(matches!(error, CallError::NotReachable { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let server = Server::bind(&path).unwrap();
        // A successor's socket outlives its predecessor.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        drop(server);
        assert!(path.exists());
        assert!(Server::bind(&path).is_err());
    }

    #[tokio::test]
    async fn nonsense_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        tokio::spawn(Server::bind(&path).unwrap().serve(Arc::new(Echo)));
        let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
        let mut line = String::new();
        for nonsense in
            [&b"{}\n"[..], b"{\"request\":\"status\"}\n", &[b'x'; LONGEST_LINE as usize]]
        {
            stream.write_all(nonsense).await.unwrap();
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            assert!(line.contains("error"), "{line}");
        }
        line.clear();
        assert_eq!(stream.read_line(&mut line).await.unwrap(), 0, "an endless line ends the talk");
    }
}
