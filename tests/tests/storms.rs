//! Ends that answer every acknowledgment with another, and ends that only seem to.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{RAW_SERVER6, VPS4, WWW6};
use ingress_tests::hello::Hello;
use ingress_tests::impair::{Impaired, Impairment, Wire};
use ingress_tests::netns::Namespace;
use ingress_tests::packet_socket::PacketSocket;
use ingress_tests::paths::SingleSegments;
use ingress_tests::plain::{self, PORT, Pair, Server, drain, noise, pour};
use ingress_tests::process::patience;
use ingress_tests::rawclient::{RawLink, USUAL_OPTIONS};
use ingress_tests::segment::{Segment, flag, packet4, packet6};
use ingress_tests::shared::{Stage, stage};
use ingress_tests::topology::Lab;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::thread;
use std::time::{Duration, Instant};

/// Linux' counter of recoveries that SACK had no part in.
const RECOVERY: &str = "TCPRenoRecovery";
const NAME: &str = "storm.example.test";
const MEGABYTES: usize = 8 << 20;
const SOON: Duration = Duration::from_secs(3);
/// How long the ends are left alone with each other; a storm is one after two seconds.
const A_WHILE: Duration = Duration::from_secs(4);
/// Whoever has heard nothing for so long hears nothing any more.
const SILENCE: Duration = Duration::from_secs(1);
/// Acknowledgments on the way at a time.
const AT_ONCE: usize = 4;
/// So many answers in turns are a storm, if they go on.
const STORM: usize = 128;
/// Two ends that agree on nothing any more.
const ASTRAY: u32 = 1 << 20;

#[test]
fn a_storm_dies_out_and_the_flow_lives_on() -> Result<()> {
    let stage = stage();
    plain::list(&stage, &[(NAME, &[RAW_SERVER6])])?;
    let ends = Ends::connect(&stage, 47_100)?;
    let before = stage.daemon()?.drops("ack_storm")?;
    let storm = ends.storm(false)?;
    let dropped = stage.daemon()?.drops("ack_storm")? - before;
    assert!(storm.answers > 100, "no storm: {storm:?}");
    assert!(dropped > 0 && dropped <= 2 * AT_ONCE as u64, "{dropped}, {storm:?}");
    assert!(storm.silent > SILENCE, "it goes on: {storm:?}");
    ends.exchange()?;
    // The same ends, but every answer says something new: what the guard has to leave alone goes on for ever.
    let progress = ends.storm(true)?;
    assert!(progress.silent < SILENCE, "{progress:?}");
    assert!(progress.answers > STORM, "{progress:?}");
    assert_eq!(stage.daemon()?.drops("ack_storm")? - before, dropped);
    ends.exchange()
}

/// Losses without SACK: a window's worth of the same acknowledgment for each, from both sides at once.
#[test]
fn duplicates_of_a_bad_line_are_no_storm() -> Result<()> {
    let stage = stage();
    plain::list(&stage, &[])?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    let _without = WithoutSack::of(&stage)?;
    let before = stage.daemon()?.drops("ack_storm")?;
    let recovered = recoveries(&stage)?;
    for wire in Wire::ALL {
        let bad = Impairment { seed: 5, loss: 0.01, duplicate: 0.01, reorder: 0.02, delay: 1 };
        let _impaired = Impaired::start(&stage.lab, wire, &bad)?;
        let Pair { client, server } = Pair::connect(&stage.lab, &server)?;
        let (up, down) = (noise(8, MEGABYTES), noise(9, MEGABYTES));
        let pouring = [pour(&client, up.clone())?, pour(&server, down.clone())?];
        let reader = thread::spawn(move || drain(&mut { client }));
        ensure!(drain(&mut { server })? == up, "up, {wire:?}");
        ensure!(reader.join().expect("no panic")? == down, "down, {wire:?}");
        for pouring in pouring {
            pouring.join().expect("no panic")?;
        }
    }
    let recovered = recoveries(&stage)? - recovered;
    println!("{recovered} recoveries by duplicates alone");
    assert!(recovered > 20, "the line is too good: {recovered}");
    assert_eq!(stage.daemon()?.drops("ack_storm")? - before, 0);
    Ok(())
}

/// A connection between two ends without a kernel.
struct Ends {
    link: RawLink,
    socket: PacketSocket,
    client: Segment,
    server: Segment,
}

/// What came of one.
#[derive(Debug)]
struct Storm {
    /// Acknowledgments that were answered.
    answers: usize,
    /// For how long the ends have heard nothing in the end.
    silent: Duration,
}

impl Ends {
    fn connect(stage: &Stage, port: u16) -> Result<Self> {
        let socket = raw_server(&stage.lab)?;
        let link = RawLink::open(&stage.lab)?;
        let to = SocketAddrV4::new(VPS4, PORT);
        let connection = link.connect(port, to, 0x1234_5678, USUAL_OPTIONS)?;
        let hello = Hello::for_name(NAME).bytes();
        link.data(&connection, 0, &hello)?;
        let syn = receive(&socket, |segment| segment.is(flag::SYN))?;
        let mut server = Segment {
            source: syn.destination,
            destination: syn.source,
            hops: 64,
            seq: 0x7700_0000,
            ack: syn.seq.wrapping_add(1),
            flags: flag::SYN | flag::ACK,
            window: 64_000,
            options: USUAL_OPTIONS.to_vec(),
            payload: Vec::new(),
        };
        send(&socket, &server)?;
        let came = receive(&socket, |segment| !segment.payload.is_empty())?;
        ensure!(came.payload == hello, "another hello");
        server = Segment {
            seq: server.seq.wrapping_add(1),
            ack: came.seq.wrapping_add(u32::try_from(hello.len())?),
            flags: flag::ACK,
            options: Vec::new(),
            ..server
        };
        let client = Segment {
            source: connection.local.into(),
            destination: connection.remote.into(),
            seq: server.ack,
            ack: connection.next,
            ..server.clone()
        };
        Ok(Self { link, socket, client, server })
    }

    /// A few octets each way.
    fn exchange(&self) -> Result<()> {
        let with = |segment: &Segment, payload: &[u8]| Segment {
            flags: flag::ACK | flag::PSH,
            payload: payload.to_vec(),
            ..segment.clone()
        };
        self.as_client(&with(&self.client, b"still there?"))?;
        receive(&self.socket, |segment| segment.payload == b"still there?")?;
        send(&self.socket, &with(&self.server, b"yes"))?;
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            let came = self.link.receive(v4(self.client.source)?, SOON)?;
            if came.context("nothing came to the client")?.payload == b"yes" {
                return Ok(());
            }
        }
        anyhow::bail!("the client has not had the answer")
    }

    /// Leaves both alone for a while: each answers every acknowledgment at once, always with the same, or with
    /// another window each time.
    fn storm(&self, news: bool) -> Result<Storm> {
        let (client, server) = (astray(&self.client), astray(&self.server));
        for _ in 0..AT_ONCE {
            self.as_client(&client)?;
        }
        let end = Instant::now() + A_WHILE * patience();
        let local = v4(self.client.source)?;
        let [at_client, at_server] = thread::scope(|scope| {
            let at_client = scope.spawn(|| {
                answer(
                    end,
                    news,
                    &client,
                    |left| self.link.receive(local, left),
                    |segment| self.as_client(segment),
                )
            });
            let at_server = scope.spawn(|| {
                let hear = |left| next(&self.socket, left);
                answer(end, news, &server, hear, |segment| send(&self.socket, segment))
            });
            [at_client, at_server].map(|end| end.join().expect("no panic"))
        });
        let ((some, early), (others, late)) = (at_client?, at_server?);
        Ok(Storm { answers: some + others, silent: early.max(late).elapsed() })
    }

    fn as_client(&self, segment: &Segment) -> Result<()> {
        self.link.send(&packet4(v4(segment.source)?, v4(segment.destination)?, segment))
    }
}

/// Answers until the end; how often, and when last.
fn answer(
    end: Instant,
    news: bool,
    own: &Segment,
    hear: impl Fn(Duration) -> Result<Option<Segment>>,
    say: impl Fn(&Segment) -> Result<()>,
) -> Result<(usize, Instant)> {
    let (mut answers, mut last, mut own) = (0, Instant::now(), own.clone());
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let Some(heard) = hear(left)? else { break };
        if heard.is(flag::ACK) && heard.payload.is_empty() {
            own.window = own.window.wrapping_add(u16::from(news));
            say(&own)?;
            (answers, last) = (answers + 1, Instant::now());
        }
    }
    Ok((answers, last))
}

fn astray(segment: &Segment) -> Segment {
    Segment { seq: segment.seq.wrapping_add(ASTRAY), window: 1000, ..segment.clone() }
}

fn raw_server(lab: &Lab) -> Result<PacketSocket> {
    let mac = lab.mac(&lab.www, "eth0")?;
    lab.home.ip(&format!("neigh replace {RAW_SERVER6} lladdr {mac} dev lan nud permanent\n"))?;
    let router = lab.mac(&lab.home, "lan")?;
    let octets: Vec<u8> =
        router.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<_, _>>()?;
    let router = octets.try_into().ok().with_context(|| format!("{router} is no MAC address"))?;
    lab.www.enter(|| PacketSocket::open("eth0", Some(router)))?
}

fn send(socket: &PacketSocket, segment: &Segment) -> Result<()> {
    let (source, destination) = (v6(segment.source)?, v6(segment.destination)?);
    socket.send(&packet6(source, destination, segment))
}

/// The next segment for the raw server.
fn next(socket: &PacketSocket, limit: Duration) -> Result<Option<Segment>> {
    let end = Instant::now() + limit;
    while let Some(packet) = socket.receive(end.saturating_duration_since(Instant::now()))? {
        if let Some(segment) = Segment::read(&packet)
            && segment.destination.ip() == RAW_SERVER6
        {
            return Ok(Some(segment));
        }
    }
    Ok(None)
}

fn receive(socket: &PacketSocket, wanted: impl Fn(&Segment) -> bool) -> Result<Segment> {
    let end = Instant::now() + SOON;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let segment = next(socket, left)?.context("nothing of the kind came to the server")?;
        if wanted(&segment) {
            return Ok(segment);
        }
    }
}

fn v4(address: SocketAddr) -> Result<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(address) => anyhow::bail!("{address} is no IPv4"),
    }
}

fn v6(address: SocketAddr) -> Result<SocketAddrV6> {
    match address {
        SocketAddr::V6(address) => Ok(address),
        SocketAddr::V4(address) => anyhow::bail!("{address} is no IPv6"),
    }
}

/// How often both ends have taken three acknowledgments of the same for a loss.
fn recoveries(stage: &Stage) -> Result<u64> {
    let [client, www] = [&stage.lab.client, &stage.lab.www].map(|end| end.tcp_counter(RECOVERY));
    Ok(client? + www?)
}

/// Both ends without SACK, each segment in a frame of its own.
struct WithoutSack<'a> {
    ends: [&'a Namespace; 2],
    _single: SingleSegments,
}

impl<'a> WithoutSack<'a> {
    fn of(stage: &'a Stage) -> Result<Self> {
        let ends = [&stage.lab.client, &stage.lab.www];
        let without = Self { ends, _single: SingleSegments::from(&ends.map(|end| (end, "eth0")))? };
        without.set("0")?;
        Ok(without)
    }

    fn set(&self, sack: &str) -> Result<()> {
        self.ends.iter().try_for_each(|end| end.sysctl("ipv4/tcp_sack", sack))
    }
}

impl Drop for WithoutSack<'_> {
    fn drop(&mut self) {
        let _ = self.set("1");
    }
}
