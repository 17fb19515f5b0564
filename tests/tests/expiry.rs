//! Flows whose time is over, without waiting for hours: a test makes them look as old as it likes.

use anyhow::{Context, Result, ensure};
use ingress::dataplane::FlowMaps;
use ingress::flows::{ESTABLISHED, Flow, TRANSITORY, keys};
use ingress_common::maps::{ABI, CLOSING_FIN, CLOSING_RST};
use ingress_tests::addresses::WWW6;
use ingress_tests::capture::Capture;
use ingress_tests::cleanup::bpffs;
use ingress_tests::golden::bench::now;
use ingress_tests::plain::{self, PORT, Pair, Server};
use ingress_tests::process::wait_until;
use ingress_tests::segment::{Segment, flag};
use ingress_tests::shared::{Stage, stage};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV6, TcpStream};
use std::thread;
use std::time::Duration;

/// The daemon looks through its flows every 20 seconds.
const SWEPT: Duration = Duration::from_secs(50);
/// A flow that lacks so much of its time must live to see the end of this test.
const YOUNGER: Duration = Duration::from_secs(180);
const OLDER: Duration = Duration::from_secs(1);

/// Marks of the client's half and of the backend's, and how long such a flow may rest.
const STATES: [(&str, u8, u8, Duration); 7] = [
    ("established", 0, 0, ESTABLISHED),
    ("the client has closed", CLOSING_FIN, 0, ESTABLISHED),
    ("the server has closed", 0, CLOSING_FIN, ESTABLISHED),
    ("both have closed", CLOSING_FIN, CLOSING_FIN, TRANSITORY),
    ("the client has reset", CLOSING_RST, 0, TRANSITORY),
    ("the server has reset", 0, CLOSING_RST, TRANSITORY),
    ("a reset after a FIN", CLOSING_FIN, CLOSING_RST, TRANSITORY),
];

struct Aged {
    what: String,
    pair: Pair,
    over: bool,
}

#[test]
fn exactly_what_has_rested_too_long_is_swept() -> Result<()> {
    let stage = stage();
    plain::list(&stage, &[])?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    let mut maps = FlowMaps::open(&bpffs(stage.lab.id()).join(format!("v{ABI}")))?;
    let closed =
        |cause| stage.daemon()?.metric(&format!("flows_closed_total{{cause=\"{cause}\"}}"));
    let before = (closed("idle")?, closed("closed")?);
    let mut flows = Vec::new();
    let mut old = BTreeMap::from([(ESTABLISHED, 0.0), (TRANSITORY, 0.0)]);
    // Time began when the machine did.
    while up() < TRANSITORY + OLDER {
        thread::sleep(Duration::from_secs(1));
    }
    for (what, there, back, limit) in STATES {
        if up() < limit + OLDER {
            println!("{what}: left out, for the machine has not been up for so long");
            continue;
        }
        // Either half alone keeps a flow alive.
        for (name, age_there, age_back) in [
            ("older", limit + OLDER, limit + OLDER),
            ("younger", limit - YOUNGER, limit - YOUNGER),
            ("only the client's half older", limit + OLDER, limit - YOUNGER),
            ("only the server's half older", limit - YOUNGER, limit + OLDER),
        ] {
            let mut pair = Pair::connect(&stage.lab, &server)?;
            pair.exchange()?;
            settle(&pair)?;
            age(&mut maps, &pair, [(there, age_there), (back, age_back)])?;
            let over = name == "older";
            *old.entry(limit).or_default() += f64::from(u8::from(over));
            flows.push(Aged { what: format!("{what}, {name}"), pair, over });
        }
    }
    let gone =
        || flows.iter().filter(|aged| aged.over).all(|aged| find(&maps, &aged.pair).is_none());
    wait_until(SWEPT, "the old ones go", gone)?;
    for aged in &flows {
        assert_eq!(find(&maps, &aged.pair).is_none(), aged.over, "{}", aged.what);
    }
    let after = (closed("idle")? - before.0, closed("closed")? - before.1);
    assert_eq!(after, (old[&ESTABLISHED], old[&TRANSITORY]));

    // Who comes too late is told so in its own numbers; for the others nothing has happened.
    let (late, living): (Vec<Aged>, Vec<Aged>) = flows.into_iter().partition(|aged| aged.over);
    for Aged { what, mut pair, .. } in living {
        pair.exchange().with_context(|| what)?;
    }
    for (nth, Aged { what, pair, .. }) in late.into_iter().enumerate() {
        too_late(&stage, pair, nth % 2 == 0).with_context(|| what)?;
    }
    Ok(())
}

/// Both ends have acknowledged everything.
fn settle(pair: &Pair) -> Result<()> {
    for end in [&pair.client, &pair.server] {
        wait_until(Duration::from_secs(2), "everything is acknowledged", || unsent(end) == 0)?;
    }
    // And such an acknowledgment has passed.
    thread::sleep(Duration::from_millis(60));
    Ok(())
}

/// Octets that the other end has not acknowledged.
fn unsent(stream: &TcpStream) -> i32 {
    use std::os::fd::AsRawFd;
    let mut octets = 0;
    // SAFETY: the socket is open, and the request writes an int.
    unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    octets
}

/// Since when the machine has been up.
fn up() -> Duration {
    Duration::from_nanos(now())
}

fn find(maps: &FlowMaps, pair: &Pair) -> Option<Flow> {
    let own = pair.client.local_addr().ok()?;
    maps.flows().find(|flow| own == flow.tuple.client.into())
}

/// Makes a flow look as if its halves had been marked so, and silent for so long.
fn age(maps: &mut FlowMaps, pair: &Pair, [there, back]: [(u8, Duration); 2]) -> Result<()> {
    let flow = find(maps, pair).context("no flow")?;
    let ago = |age: Duration| now().saturating_sub(age.as_nanos() as u64);
    let backend = SocketAddrV6::new(*flow.backend().ip(), PORT, 0, 0);
    let (client_key, backend_key) = keys(flow.tuple, backend, flow.to_backend.source.into());
    let mut half = flow.to_backend;
    (half.closing, half.last_seen) = (there.0, ago(there.1));
    maps.to_backend.insert(client_key, half, 0)?;
    let mut half = flow.to_client.context("half a flow")?;
    (half.closing, half.last_seen) = (back.0, ago(back.1));
    maps.to_client.insert(backend_key, half, 0)?;
    Ok(())
}

fn too_late(stage: &Stage, pair: Pair, by_client: bool) -> Result<()> {
    let filter = format!("tcp port {}", pair.client.local_addr()?.port());
    let machine = if by_client { &stage.lab.client } else { &stage.lab.www };
    let capture = Capture::start(machine, "eth0", &filter, stage.lab.dir())?;
    let Pair { client, server } = pair;
    let mut speaker = if by_client { client } else { server };
    speaker.write_all(b"am I late?")?;
    let error = speaker.read(&mut [0; 1]).expect_err("a reset");
    ensure!(error.kind() == ErrorKind::ConnectionReset, "{error}");
    let is_reset = |segment: &Segment| segment.flags & flag::RST != 0;
    let told =
        |packets: &[Vec<u8>]| packets.iter().filter_map(|p| Segment::read(p)).any(|s| is_reset(&s));
    let seen = capture.stop_with("a reset", told)?;
    let mut seen = seen.iter().filter_map(|packet| Segment::read(packet));
    let late = seen.find(|segment| !segment.payload.is_empty()).context("nothing was sent")?;
    let reset = seen.find(is_reset).context("no reset")?;
    ensure!(reset.destination == late.source && reset.seq == late.ack, "{reset:?} for {late:?}");
    Ok(())
}
