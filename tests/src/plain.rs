//! A spliced connection with both its ends in the test's hands: what follows a ClientHello may be anything, if the
//! server does not mind.

use crate::addresses::{VPS4, WWW};
use crate::daemon;
use crate::hello::Hello;
use crate::netns::Namespace;
use crate::process::patience;
use crate::shared::Stage;
use crate::topology::Lab;
use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Listed for TLS in [`config`]; nothing but a test listens there at home.
pub const PORT: u16 = 9443;
/// Listed for PostgreSQL in [`config`].
pub const POSTGRES_PORT: u16 = 9432;

/// Longer than anything here takes unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The usual configuration with these ports, and names for `[hosts]`.
#[must_use]
pub fn config(lab: &Lab, hosts: &[(&str, &[Ipv6Addr])]) -> String {
    let mut names = String::from("[hosts]\n");
    for (name, addresses) in hosts {
        let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        names += &format!("\"{name}\" = [{}]\n", list.join(", "));
    }
    listed(&daemon::config(lab)).replace("[hosts]\n", &names)
}

/// A configuration like the usual one, with these ports in it.
#[must_use]
pub fn listed(config: &str) -> String {
    config
        .replace("ports = [443, 8443]", &format!("ports = [443, 8443, {PORT}]"))
        .replace("ports = [5432]", &format!("ports = [5432, {POSTGRES_PORT}]"))
}

/// Has the daemon take [`config`] up.
pub fn list(stage: &Stage, hosts: &[(&str, &[Ipv6Addr])]) -> Result<()> {
    let daemon = stage.daemon()?;
    daemon.configure(&config(&stage.lab, hosts))?;
    let reloaded = daemon.ctl(&["reload"])?;
    ensure!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    Ok(())
}

/// A server at home that does what the test does.
#[derive(Debug)]
pub struct Server(TcpListener);

impl Server {
    /// Listens on a machine.
    pub fn start(machine: &Namespace, address: Ipv6Addr, port: u16) -> Result<Self> {
        let listener = machine.enter(|| TcpListener::bind((address, port)))?;
        let listener = listener.with_context(|| format!("listen on [{address}]:{port}"))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The next connection, if it comes in time: so long, times [`patience`].
    pub fn accept(&self, limit: Duration) -> Result<TcpStream> {
        let limit = limit * patience();
        let end = Instant::now() + limit;
        loop {
            match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    return patient(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("accept"),
            }
            if Instant::now() > end {
                bail!("no connection reached the server within {limit:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether a connection waits to be accepted; it is dropped.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.0.accept().is_ok()
    }
}

/// A connection with its two ends, the hello over.
#[derive(Debug)]
pub struct Pair {
    /// Over IPv4.
    pub client: TcpStream,
    /// At home.
    pub server: TcpStream,
}

impl Pair {
    /// Connects to a server that is called [`WWW`] and has [`PORT`].
    pub fn connect(lab: &Lab, server: &Server) -> Result<Self> {
        Self::by_name(lab, server, WWW)
    }

    /// The same by another name.
    pub fn by_name(lab: &Lab, server: &Server, name: &str) -> Result<Self> {
        let client = client(lab, PORT)?;
        Self::greet(client, server, name)
    }

    /// Says hello over a connection that stands.
    pub fn greet(mut client: TcpStream, server: &Server, name: &str) -> Result<Self> {
        let hello = Hello::for_name(name).bytes();
        client.write_all(&hello)?;
        let mut server = server.accept(PATIENCE / 2)?;
        expect(&mut server, &hello)?;
        Ok(Self { client, server })
    }

    /// A few octets each way, to see that it lives.
    pub fn exchange(&mut self) -> Result<()> {
        self.client.write_all(b"from the client")?;
        expect(&mut self.server, b"from the client").context("client to server")?;
        self.server.write_all(b"from the server")?;
        expect(&mut self.client, b"from the server").context("server to client")
    }
}

/// Connects the client to a port of the VPS.
pub fn client(lab: &Lab, port: u16) -> Result<TcpStream> {
    let target = SocketAddr::new(VPS4.into(), port);
    patient(lab.client.enter(|| TcpStream::connect_timeout(&target, PATIENCE))??)
}

fn patient(stream: TcpStream) -> Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads exactly these octets.
pub fn expect(stream: &mut TcpStream, expected: &[u8]) -> Result<()> {
    let mut came = vec![0; expected.len()];
    stream.read_exact(&mut came).context("read")?;
    if came != expected {
        bail!("{} octets came, but others than were sent", came.len());
    }
    Ok(())
}

/// Octets that look random: the same ones for the same seed, at any place of the stream.
#[must_use]
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octets = Vec::with_capacity(len + 8);
    while octets.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend(state.to_le_bytes());
    }
    octets.truncate(len);
    octets
}

/// Writes in a thread of its own, and closes this direction afterwards.
pub fn pour(stream: &TcpStream, octets: Vec<u8>) -> Result<thread::JoinHandle<Result<()>>> {
    let mut stream = stream.try_clone()?;
    Ok(thread::spawn(move || {
        stream.write_all(&octets).context("write")?;
        stream.shutdown(std::net::Shutdown::Write).context("close")
    }))
}

/// Reads to the end of the stream.
pub fn drain(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).context("read to the end")?;
    Ok(all)
}

/// Has a socket reset its connection when it is closed.
pub fn reset(stream: TcpStream) -> Result<()> {
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, Linger, &now)?;
    drop(stream);
    Ok(())
}
