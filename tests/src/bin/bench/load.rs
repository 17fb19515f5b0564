//! The clients: transfers, connections, and connections that only stay. Each prints one line of JSON.

use crate::origin::{CHUNK_OF_CLIENT, PAGE, Request};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use ingress_tests::hello::Hello;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;

/// How long one connection may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the clients of `connections` come from: the addresses for benchmarks (RFC 2544, RFC 5180).
pub const WORLD4: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);
pub const WORLD6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48);
/// The /24s of the former.
const NEIGHBOURHOODS: u64 = 1 << (24 - WORLD4.1);

#[derive(Args)]
pub struct Target {
    /// Whom to connect
    #[arg(long)]
    to: SocketAddr,
    /// The name in the hello
    #[arg(long)]
    name: String,
}

#[derive(Subcommand)]
pub enum Load {
    /// One transfer
    Bulk {
        #[command(flatten)]
        target: Target,
        /// Octets
        #[arg(long)]
        bytes: u64,
        /// From the client to the server
        #[arg(long)]
        up: bool,
    },
    /// Connections, each a hello and a page
    Connections {
        #[command(flatten)]
        target: Target,
        /// How many in all
        #[arg(long)]
        count: u64,
        /// How many at a time
        #[arg(long)]
        parallel: u64,
    },
    /// Connections that stay until the end of standard input
    Idle {
        #[command(flatten)]
        target: Target,
        /// How many in all
        #[arg(long)]
        count: u64,
        /// Where they come from
        #[arg(long)]
        from: IpAddr,
    },
}

pub fn run(load: &Load) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match load {
        Load::Bulk { target, bytes, up } => bulk(target, *bytes, *up),
        Load::Connections { target, count, parallel } => {
            runtime.block_on(connections(target, *count, *parallel))
        }
        Load::Idle { target, count, from } => runtime.block_on(idle(target, *count, *from)),
    }
}

fn opening(target: &Target, request: Request) -> Vec<u8> {
    let mut bytes = Hello::for_name(&target.name).bytes();
    bytes.extend(request.bytes());
    bytes
}

fn bulk(target: &Target, bytes: u64, up: bool) -> Result<()> {
    let mut stream = std::net::TcpStream::connect(target.to).context("connect")?;
    let mut chunk = vec![0; CHUNK_OF_CLIENT];
    let begun = Instant::now();
    if up {
        stream.write_all(&opening(target, Request::Upload(bytes)))?;
        let mut left = bytes;
        while left > 0 {
            let len = chunk.len().min(usize::try_from(left).unwrap_or(CHUNK_OF_CLIENT));
            stream.write_all(&chunk[..len])?;
            left -= len as u64;
        }
        stream.read_exact(&mut [0]).context("the server's word that it has everything")?;
    } else {
        stream.write_all(&opening(target, Request::Download(bytes)))?;
        let mut came = 0;
        loop {
            let len = stream.read(&mut chunk)?;
            if len == 0 {
                break;
            }
            came += len as u64;
        }
        if came != bytes {
            bail!("{came} of {bytes} octets came");
        }
    }
    println!("{}", json!({ "seconds": begun.elapsed().as_secs_f64() }));
    Ok(())
}

async fn connections(target: &Target, count: u64, parallel: u64) -> Result<()> {
    let (to, opening) = (target.to, Arc::new(opening(target, Request::Page)));
    let next = Arc::new(AtomicU64::new(0));
    let seen = Arc::new(Mutex::new((Vec::new(), 0_u64)));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..parallel {
        let (opening, next, seen) = (opening.clone(), next.clone(), seen.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                let nth = next.fetch_add(1, Ordering::Relaxed);
                if nth >= count {
                    break;
                }
                let begun = Instant::now();
                let done =
                    tokio::time::timeout(PATIENCE, page(neighbourhood(nth, to), to, &opening))
                        .await;
                let mut seen = seen.lock().await;
                match done {
                    Ok(Ok(())) => seen.0.push(begun.elapsed().as_secs_f64()),
                    Ok(Err(_)) | Err(_) => seen.1 += 1,
                }
            }
        }));
    }
    for task in tasks {
        task.await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (mut latencies, failed) = std::mem::take(&mut *seen.lock().await);
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let last = latencies.len().saturating_sub(1) as f64;
        latencies.get((last * share).round() as usize).copied()
    };
    println!(
        "{}",
        json!({
            "seconds": seconds, "done": latencies.len(), "failed": failed,
            "p50": at(0.5), "p99": at(0.99),
        })
    );
    Ok(())
}

/// Connects, asks, and reads to the end: the server closes first, and the client's port is free at once.
async fn page(from: IpAddr, to: SocketAddr, opening: &[u8]) -> Result<()> {
    let mut stream = connect(from, to).await?;
    stream.set_nodelay(true)?;
    stream.write_all(opening).await?;
    let mut page = Vec::with_capacity(PAGE + 1);
    stream.read_to_end(&mut page).await?;
    if page.len() != PAGE {
        bail!("{} octets came", page.len());
    }
    Ok(())
}

async fn idle(target: &Target, count: u64, from: IpAddr) -> Result<()> {
    const AT_ONCE: u64 = 64;
    let opening = Arc::new(opening(target, Request::PageAndStay));
    let (mut kept, mut failed) = (Vec::new(), 0_u64);
    let mut nth = 0;
    while nth < count {
        let batch = AT_ONCE.min(count - nth);
        let mut tasks = Vec::new();
        for _ in 0..batch {
            let (to, opening) = (target.to, opening.clone());
            tasks.push(tokio::spawn(async move {
                tokio::time::timeout(PATIENCE, stay(from, to, &opening)).await
            }));
        }
        for task in tasks {
            match task.await? {
                Ok(Ok(stream)) => kept.push(stream),
                Ok(Err(_)) | Err(_) => failed += 1,
            }
        }
        nth += batch;
    }
    println!("{}", json!({ "kept": kept.len(), "failed": failed }));
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn stay(source: IpAddr, to: SocketAddr, opening: &[u8]) -> Result<TcpStream> {
    let mut stream = connect(source, to).await?;
    stream.write_all(opening).await?;
    stream.read_exact(&mut [0; PAGE]).await?;
    Ok(stream)
}

async fn connect(source: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Ports of one source are chosen when it connects, so that other sources may have the same.
    set_late_port(&socket)?;
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket.connect(to).await?)
}

/// Each client is of another /24 or /64 than the one before, as in the world.
fn neighbourhood(nth: u64, to: SocketAddr) -> IpAddr {
    let nth = nth % NEIGHBOURHOODS;
    if to.is_ipv4() {
        (Ipv4Addr::from(u32::from(WORLD4.0) + (nth << 8) as u32 + 1)).into()
    } else {
        (Ipv6Addr::from(u128::from(WORLD6.0) + (u128::from(nth) << 64) + 1)).into()
    }
}

fn set_late_port(socket: &TcpSocket) -> Result<()> {
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    Ok(())
}
