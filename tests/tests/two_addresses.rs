//! A VPS with two IPv4 addresses: a client may use one port to both, and a server cannot tell these connections apart.

use anyhow::{Context, Result};
use ingress_tests::addresses::{VPS4, WWW, WWW6};
use ingress_tests::hello::Hello;
use ingress_tests::plain::{self, PORT, Server};
use ingress_tests::process::wait_until;
use ingress_tests::rawclient::{RawConnection, RawLink, USUAL_OPTIONS};
use ingress_tests::segment::flag;
use ingress_tests::shared::{Stage, stage};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);
const CLIENT_PORT: u16 = 48_100;
const SOON: Duration = Duration::from_secs(3);

#[test]
fn one_port_to_both() -> Result<()> {
    let stage = stage();
    stage.lab.vps.ip(&format!("addr add {OTHER}/24 dev eth0\n"))?;
    plain::list(&stage, &[])?;
    wait_until(SOON, "the address is listed", || {
        stage
            .daemon()
            .and_then(|daemon| daemon.listens(SocketAddrV4::new(OTHER, PORT)))
            .is_ok_and(|listens| listens)
    })?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    let link = RawLink::open(&stage.lab)?;
    let (mut first, mut there) = connect(&link, &server, VPS4, 0x1000_0000)?;
    let refused = outcome(&stage, "port_taken")?;
    // By way of the other address it would disturb the first one, so it is refused at once.
    let (second, hello) = ask(&link, OTHER, 0x2000_0000)?;
    let reset = loop {
        let segment = link.receive(second.local, SOON)?.context("a reset")?;
        if segment.is(flag::RST | flag::ACK) {
            break segment;
        }
    };
    assert_eq!((reset.source.port(), reset.ack), (PORT, second.isn.wrapping_add(1 + hello)));
    assert_eq!(outcome(&stage, "port_taken")?, refused + 1.0);
    // The first has noticed nothing.
    there.write_all(b"still here")?;
    assert_eq!(link.first_answer(&mut first, hello as usize, SOON)?, b"still here");
    // Once it is over, the port is free.
    link.reset(&first, hello as usize)?;
    let (_third, _there) = connect(&link, &server, OTHER, 0x3000_0000)?;
    stage.lab.vps.ip(&format!("addr del {OTHER}/24 dev eth0\n"))?;
    Ok(())
}

/// A connection as far as its hello, and how long that is.
fn ask(link: &RawLink, to: Ipv4Addr, isn: u32) -> Result<(RawConnection, u32)> {
    let connection = link.connect(CLIENT_PORT, SocketAddrV4::new(to, PORT), isn, USUAL_OPTIONS)?;
    let hello = Hello::for_name(WWW).bytes();
    link.data(&connection, 0, &hello)?;
    Ok((connection, hello.len() as u32))
}

fn connect(
    link: &RawLink,
    server: &Server,
    to: Ipv4Addr,
    isn: u32,
) -> Result<(RawConnection, TcpStream)> {
    let (connection, _) = ask(link, to, isn)?;
    let mut stream = server.accept(Duration::from_secs(4))?;
    plain::expect(&mut stream, &Hello::for_name(WWW).bytes())?;
    Ok((connection, stream))
}

fn outcome(stage: &Stage, outcome: &str) -> Result<f64> {
    stage.daemon()?.metric(&format!("handshakes_total{{outcome=\"{outcome}\"}}"))
}
