//! Ends that take small segments: each is sent no more than it takes, and a port promises no more than its
//! backends have taken of late.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{VPS4, WWW6};
use ingress_tests::capture::Capture;
use ingress_tests::icmp::errors4;
use ingress_tests::impair::{Impaired, Impairment, Wire};
use ingress_tests::netns::Namespace;
use ingress_tests::paths::{Narrow, SingleSegments, TO_CLIENT};
use ingress_tests::plain::{self, PORT, Pair, Server, drain, noise, pour};
use ingress_tests::process;
use ingress_tests::segment::{Segment, flag};
use ingress_tests::shared::{Stage, stage};
use std::thread;
use std::time::Duration;

/// What a tunnel of 1420 carries.
const USUAL: u16 = 1360;
const MUCH: usize = 400_000;

/// A home whose acknowledgments take longer than the daemon does.
const FAR: Impairment = Impairment { seed: 1, loss: 0.0, duplicate: 0.0, reorder: 0.0, delay: 40 };

/// IPv6's default and IPv4's.
const SMALL: [u16; 2] = [1220, 536];

#[test]
fn a_backend_that_takes_little() -> Result<()> {
    let mut stage = stage();
    for mss in SMALL {
        plain::list(&stage, &[])?;
        assert_eq!(promised(&stage)?, (USUAL, false));
        let server = Server::start(&stage.lab.www, WWW6, PORT)?;
        let (client, www) = (stage.lab.client.clone(), stage.lab.www.clone());
        let _single = single(&stage)?;
        let _small = Announces::new(&www, "::/0 via 2001:db8:1:0:1::1", mss)?;
        // The first client is promised what the port has always promised. It believes what it is told only of a segment
        // that was not acknowledged before it hears of it.
        let far = Impaired::start(&stage.lab, Wire::Home, &FAR)?;
        let (sizes, told) = upload(&stage, &server, USUAL, true)?;
        drop(far);
        assert!(told.iter().all(|told| *told == u32::from(mss) + 40), "{mss}: {told:?}");
        assert!(!told.is_empty() && told.len() < 20, "{mss}: told {} times", told.len());
        let late = &sizes[sizes.len() / 2..];
        assert!(late.iter().all(|size| *size <= mss), "{mss}: {late:?}");
        forget_path(&client)?;
        // The next one is promised no more than that, and by the next daemon, too.
        assert_eq!(promised(&stage)?, (mss, true));
        stage.daemon_mut()?.stop()?;
        stage.daemon_mut()?.resume()?;
        assert_eq!(promised(&stage)?, (mss, true));
        let (sizes, told) = upload(&stage, &server, mss, false)?;
        assert!(told.is_empty() && sizes.iter().all(|size| *size <= mss), "{mss}: {sizes:?}");
    }
    Ok(())
}

/// The first client of such a backend, which drops what is larger; the client does not wait before it sends.
#[test]
fn a_backend_that_really_takes_no_more() -> Result<()> {
    let stage = stage();
    plain::list(&stage, &[])?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    let _single = single(&stage)?;
    let _small = Announces::new(&stage.lab.www, "::/0 via 2001:db8:1:0:1::1", 536)?;
    let strict = Strict::new(&stage.lab.www, 536 + 60)?;
    let (sizes, told) = upload(&stage, &server, USUAL, false)?;
    assert!(!told.is_empty(), "it arrived all the same: {sizes:?}");
    assert!(strict.dropped()? > 0, "nothing was too large");
    drop(strict);
    forget_path(&stage.lab.client)
}

#[test]
fn a_client_that_takes_little() -> Result<()> {
    let stage = stage();
    plain::list(&stage, &[])?;
    let server = Server::start(&stage.lab.www, WWW6, PORT)?;
    let _single = single(&stage)?;
    for mss in SMALL {
        let _small = Announces::new(&stage.lab.client, "default via 192.0.2.1", mss)?;
        let Pair { client, server } = Pair::connect(&stage.lab, &server)?;
        let filter = format!("tcp dst port {}", client.local_addr()?.port());
        let at_client = Capture::start(&stage.lab.client, "eth0", &filter, stage.lab.dir())?;
        let octets = noise(5, MUCH);
        let pouring = pour(&server, octets.clone())?;
        ensure!(drain(&mut { client })? == octets, "{mss}: what came is not what was sent");
        pouring.join().expect("no panic")?;
        let sizes = sizes(&at_client.stop()?);
        assert!(sizes.len() > 20 && sizes.iter().all(|size| *size <= mss), "{mss}: {sizes:?}");
        assert_eq!(promised(&stage)?, (USUAL, false), "a client says nothing of backends");
    }
    Ok(())
}

/// A server knows how narrow the path to one of its clients is, and announces no more to that one.
#[test]
fn a_narrow_path_to_one_client_is_no_matter_of_the_others() -> Result<()> {
    let stage = stage();
    plain::list(&stage, &[])?;
    let (lab, www) = (&stage.lab, &stage.lab.www);
    let server = Server::start(www, WWW6, PORT)?;
    Pair::connect(lab, &server)?.exchange()?;
    let _narrow = Narrow::path(&lab.inet, TO_CLIENT, 1300, &[www])?;
    let Pair { mut client, server: near } = Pair::connect(lab, &server)?;
    let octets = noise(6, MUCH);
    let pouring = pour(&near, octets.clone())?;
    ensure!(drain(&mut client)? == octets, "what came is not what was sent");
    pouring.join().expect("no panic")?;
    let filter = format!("tcp src port {PORT}");
    let answers = Capture::start(www, "eth0", &filter, lab.dir())?;
    Pair::connect(lab, &server)?.exchange()?;
    let answers = answers.stop()?;
    let announced = answers.iter().filter_map(|packet| Segment::read(packet)?.mss()).next();
    assert_eq!(announced, Some(1260), "the server has not learned of the path");
    assert_eq!(promised(&stage)?, (USUAL, false));
    Ok(())
}

/// Uploads on a new connection, whose SYN-ACK has to promise this. The sizes of the segments at the backend, options
/// counted, and the MTUs that the client was told.
fn upload(
    stage: &Stage,
    server: &Server,
    promised: u16,
    later: bool,
) -> Result<(Vec<u16>, Vec<u32>)> {
    let (lab, dir) = (&stage.lab, stage.lab.dir());
    let at_client = Capture::start(&lab.client, "eth0", "icmp or (tcp and src port 9443)", dir)?;
    let at_server = Capture::start(&lab.www, "eth0", &format!("tcp dst port {PORT}"), dir)?;
    let Pair { client, mut server } = Pair::connect(lab, server)?;
    if later {
        thread::sleep(Duration::from_millis(300));
    }
    let octets = noise(4, MUCH);
    let pouring = pour(&client, octets.clone())?;
    ensure!(drain(&mut server)? == octets, "what came is not what was sent");
    pouring.join().expect("no panic")?;
    let at_client = at_client.stop()?;
    let own = client.local_addr()?;
    let syn_ack = at_client
        .iter()
        .filter_map(|packet| Segment::read(packet))
        .find(|segment| segment.is(flag::SYN | flag::ACK) && segment.destination == own)
        .context("no SYN-ACK")?;
    assert_eq!(syn_ack.mss(), Some(promised));
    let told = errors4(&at_client);
    for error in &told {
        assert_eq!((error.kind, error.code, error.from), (3, 4, VPS4));
        assert_eq!(error.quoted.source, own);
    }
    let told = told.iter().map(|error| error.detail & 0xffff).collect();
    Ok((sizes(&at_server.stop()?), told))
}

/// Payload and options of each segment with data, of packets whose end the capture has cut off.
fn sizes(packets: &[Vec<u8>]) -> Vec<u16> {
    let size = |packet: &Vec<u8>| {
        let segment = Segment::read(packet)?;
        let word = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
        let tcp = if packet[0] >> 4 == 4 { word(2)? - 20 } else { word(4)? };
        (!segment.payload.is_empty() && segment.flags & flag::SYN == 0).then_some(tcp - 20)
    };
    packets.iter().filter_map(size).collect()
}

/// What `status` says that the port promises, and whether a backend has made it so little.
fn promised(stage: &Stage) -> Result<(u16, bool)> {
    let address = format!("{VPS4}:{PORT}");
    let status = stage.daemon()?.ctl_json(&["status"])?;
    let rows = status["listen"].as_array().context("no list")?;
    let row = rows.iter().find(|row| row["address"] == address).context("not listed")?;
    let mss = row["mss"].as_u64().and_then(|mss| u16::try_from(mss).ok()).context("no MSS")?;
    Ok((mss, row["mss_lowered"] == true))
}

/// The client forgets what it was told of its path.
fn forget_path(client: &Namespace) -> Result<()> {
    client.ip("route flush cache\n")
}

/// A machine that announces an MSS of its own.
struct Announces<'a>(&'a Namespace, &'static str);

impl<'a> Announces<'a> {
    fn new(machine: &'a Namespace, route: &'static str, mss: u16) -> Result<Self> {
        machine.ip(&format!("route replace {route} advmss {mss}\n"))?;
        Ok(Self(machine, route))
    }
}

impl Drop for Announces<'_> {
    fn drop(&mut self) {
        let _ = self.0.ip(&format!("route replace {}\n", self.1));
    }
}

/// A machine that drops what is longer than this, IPv6 header included.
struct Strict<'a>(&'a Namespace);

impl<'a> Strict<'a> {
    fn new(machine: &'a Namespace, longest: u16) -> Result<Self> {
        let rules = format!(
            "add table inet small; add chain inet small in {{ type filter hook input priority 0; }}; \
             add rule inet small in tcp dport {PORT} meta length > {longest} counter drop"
        );
        process::output(machine.command("nft")?.arg(rules))?;
        Ok(Self(machine))
    }

    fn dropped(&self) -> Result<u64> {
        let text =
            process::output(self.0.command("nft")?.args(["list", "table", "inet", "small"]))?;
        let count = text.split("counter packets ").nth(1).context("no counter")?;
        Ok(count.split_whitespace().next().context("no count")?.parse()?)
    }
}

impl Drop for Strict<'_> {
    fn drop(&mut self) {
        if let Ok(mut nft) = self.0.command("nft") {
            let _ = nft.args(["delete", "table", "inet", "small"]).output();
        }
    }
}

/// Segments travel one in a frame, from both ends and from the router at home to the server.
fn single(stage: &Stage) -> Result<SingleSegments> {
    let lab = &stage.lab;
    SingleSegments::from(&[
        (&lab.client, "eth0"),
        (&lab.inet, "client"),
        (&lab.www, "eth0"),
        (&lab.home, "www"),
    ])
}
