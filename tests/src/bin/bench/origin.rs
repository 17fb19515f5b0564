//! The server that is measured against: it reads a ClientHello without doing any TLS, then one request,
//! and answers with octets. So the ends cost little, and what is between them is seen.

use anyhow::{Context, Result, bail};
use std::net::{Ipv6Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where it listens; listed by every contender.
pub const PORT: u16 = 4443;
/// What is answered to [`Request::Page`].
pub const PAGE: usize = 2048;
/// An octet for the kind, eight for the length.
const REQUEST_LEN: usize = 9;
/// What the clients read and write at a time.
pub const CHUNK_OF_CLIENT: usize = CHUNK;
const CHUNK: usize = 256 * 1024;

/// What a client asks for, behind its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// So many octets, then the end.
    Download(u64),
    /// Takes so many octets and says one when it has them.
    Upload(u64),
    /// [`PAGE`] octets, then the end.
    Page,
    /// [`PAGE`] octets; the connection stays until the client goes.
    PageAndStay,
}

impl Request {
    /// As it goes over the wire.
    pub fn bytes(self) -> [u8; REQUEST_LEN] {
        let (kind, len) = match self {
            Self::Download(len) => (b'D', len),
            Self::Upload(len) => (b'U', len),
            Self::Page => (b'P', 0),
            Self::PageAndStay => (b'S', 0),
        };
        let [a, b, c, d, e, f, g, h] = len.to_be_bytes();
        [kind, a, b, c, d, e, f, g, h]
    }

    fn parse(bytes: [u8; REQUEST_LEN]) -> Result<Self> {
        let [kind, len @ ..] = bytes;
        let len = u64::from_be_bytes(len);
        match kind {
            b'D' => Ok(Self::Download(len)),
            b'U' => Ok(Self::Upload(len)),
            b'P' => Ok(Self::Page),
            b'S' => Ok(Self::PageAndStay),
            _ => bail!("a request of kind {kind}"),
        }
    }
}

/// Serves until it is killed.
pub fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
        let socket = tokio::net::TcpSocket::new_v6()?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(address)?;
        let listener: TcpListener = socket.listen(65_535)?;
        loop {
            let (stream, _) = listener.accept().await.context("accept")?;
            // A client that breaks off is the client's to count.
            tokio::spawn(async { drop(answer(stream).await) });
        }
    })
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut header = [0; 5];
    stream.read_exact(&mut header).await?;
    let [_, _, _, high, low] = header;
    let mut rest = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    stream.read_exact(&mut rest).await?;
    let mut request = [0; REQUEST_LEN];
    stream.read_exact(&mut request).await?;
    match Request::parse(request)? {
        Request::Download(mut left) => {
            let chunk = vec![0x2a; CHUNK];
            while left > 0 {
                let len = chunk.len().min(usize::try_from(left).unwrap_or(CHUNK));
                stream.write_all(&chunk[..len]).await?;
                left -= len as u64;
            }
        }
        Request::Upload(mut left) => {
            let mut chunk = vec![0; CHUNK];
            while left > 0 {
                let len = stream.read(&mut chunk).await?;
                if len == 0 {
                    bail!("the upload breaks off");
                }
                left = left.saturating_sub(len as u64);
            }
            stream.write_all(&[1]).await?;
        }
        Request::Page => stream.write_all(&[0x2a; PAGE]).await?,
        Request::PageAndStay => {
            stream.write_all(&[0x2a; PAGE]).await?;
            // The client's end, or whatever it says, ends it.
            let _ = stream.read(&mut [0]).await?;
        }
    }
    stream.shutdown().await?;
    Ok(())
}
