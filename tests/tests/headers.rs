//! Servers that put extension headers in front of TCP, as a kernel sends them.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::WWW6;
use ingress_tests::capture::Capture;
use ingress_tests::plain::{self, PORT, Pair, Server, drain, noise, pour};
use ingress_tests::shared::{Stage, stage};
use nix::errno::Errno;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

const MUCH: usize = 4 << 20;
/// Next header and length, which the kernel fills in, and padding.
const OPTIONS: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
const DESTINATION: u8 = 60;

#[test]
fn a_server_with_destination_options_is_heard() -> Result<()> {
    let stage = stage();
    plain::list(&stage, &[])?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    // Linux does not take such headers off its segments, which then would be larger than the tunnel.
    let client = &stage.lab.client;
    client.ip("route replace default via 192.0.2.1 advmss 1300\n")?;
    let carried = carry(&stage, &server);
    client.ip("route replace default via 192.0.2.1\n")?;
    carried
}

fn carry(stage: &Stage, server: &Server) -> Result<()> {
    let mut pair = Pair::connect(&stage.lab, server)?;
    pair.exchange()?;
    put_before_tcp(&pair.server)?;
    let filter = "ip6 src host 2001:db8:1:0:1::80";
    let at_server = Capture::start(&stage.lab.www, "eth0", filter, stage.lab.dir())?;
    let (up, down) = (noise(21, MUCH), noise(22, MUCH));
    let pouring = [pour(&pair.client, up.clone())?, pour(&pair.server, down.clone())?];
    let mut client = pair.client.try_clone()?;
    let reader = std::thread::spawn(move || drain(&mut client));
    ensure!(drain(&mut pair.server)? == up, "up");
    ensure!(reader.join().expect("no panic")? == down, "down");
    for pouring in pouring {
        pouring.join().expect("no panic")?;
    }
    let packets = at_server.stop()?;
    let with = packets.iter().filter(|packet| packet.get(6) == Some(&DESTINATION)).count();
    ensure!(with > 100, "only {with} of {} packets had options", packets.len());
    Ok(())
}

fn put_before_tcp(stream: &TcpStream) -> Result<()> {
    // SAFETY: the pointer and the length are those of an array.
    let set = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_DSTOPTS,
            OPTIONS.as_ptr().cast(),
            OPTIONS.len() as u32,
        )
    };
    Errno::result(set).context("IPV6_DSTOPTS")?;
    Ok(())
}
