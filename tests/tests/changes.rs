//! The network changes under the daemon and its flows: interfaces go and come, MTUs and addresses change.

use anyhow::{Context, Result};
use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, Map, MapData};
use ingress_common::maps::{ABI, MAX_LISTENERS, Route};
use ingress_tests::addresses::{CLIENT6, VPS4, WWW};
use ingress_tests::cleanup;
use ingress_tests::client::{ping6, random_file, same_content};
use ingress_tests::daemon::{Daemon, config};
use ingress_tests::process::{self, wait_until};
use ingress_tests::rawclient::{RawLink, USUAL_OPTIONS};
use ingress_tests::shared::{Stage, stage};
use ingress_tests::topology::Lab;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(3);
/// Enough to be on its way for some seconds.
const MEGABYTES: usize = 24;
const PACE: [&str; 2] = ["--limit-rate", "5M"];

#[test]
fn a_daemon_may_start_before_its_tunnel() -> Result<()> {
    let mut stage = stage();
    stage.daemon_mut()?.stop()?;
    stage.lab.remove_tunnel()?;
    stage.daemon_mut()?.resume()?;
    let early = stage.by_name(WWW, "/")?.args(&["--max-time", "2"]).run()?;
    assert_eq!(early.status(), 0, "there is no way yet");
    // Now that it is no matter of a moment, a client hears so at once.
    thread::sleep(SOON);
    let unreachable =
        || stage.daemon()?.metric("handshakes_total{outcome=\"backend_unreachable\"}");
    let (before, start) = (unreachable()?, Instant::now());
    let late = stage.by_name(WWW, "/")?.args(&["--max-time", "8"]).run()?;
    let took = start.elapsed();
    assert_eq!(late.status(), 0, "there is still no way");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(unreachable()?, before + 1.0);
    stage.lab.restore_tunnel()?;
    wait_until(SOON, "the tunnel is attached", || {
        tunnel(&stage).is_ok_and(|tunnel| tunnel["attachment"] == "tcx")
    })?;
    fetch(&stage, "/?late-tunnel")
}

/// The kernel lists what it has learned of single destinations beside the routes. Anybody may teach it that by Packet
/// Too Big, as often as he likes, and the table of routes has an end.
#[test]
fn a_learned_path_mtu_is_no_route() -> Result<()> {
    let stage = stage();
    let Lab { vps, inet, .. } = &stage.lab;
    inet.ip("route replace 2001:db8:c::/64 dev client proto kernel metric 256 mtu 1300\n")?;
    let client = CLIENT6.to_string();
    let said = ping6(vps, &["-M", "do", "-s", "1400", "-c", "2", "-W", "1", &client]);
    let learned = process::output(vps.command("ip")?.args(["-6", "route", "get", &client]));
    // Whatever it is that changes, the daemon looks at all of it.
    let looked = vps.ip("route add 2001:db8:ffff::/64 dev lo\n");
    thread::sleep(SOON / 2);
    let pin = cleanup::bpffs(stage.lab.id()).join(format!("v{ABI}")).join("ROUTES");
    let routes = MapData::from_pin(pin)
        .map(|map| LpmTrie::<_, [u8; 16], Route>::try_from(Map::LpmTrie(map)));
    let of_client = Key::new(128, CLIENT6.octets());
    inet.ip("route replace 2001:db8:c::/64 dev client proto kernel metric 256\n")?;
    vps.ip("route del 2001:db8:ffff::/64 dev lo\n")?;
    process::output(vps.command("ip")?.args(["-6", "route", "flush", "cache"]))?;
    let (said, learned) = (said?, learned?);
    looked?;
    assert!(learned.contains("mtu 1300"), "nothing was learned: {learned} {said}");
    let keys = routes??.keys().collect::<Result<Vec<_>, _>>()?;
    let found = |key: &Key<[u8; 16]>| (key.prefix_len(), key.data());
    assert!(!keys.iter().any(|key| found(key) == found(&of_client)), "the exception is a route");
    assert!(keys.iter().any(|key| key.prefix_len() == 0), "there is no default route");
    Ok(())
}

#[test]
fn a_tunnel_goes_and_comes_back_under_its_flows() -> Result<()> {
    let mut stage = stage();
    let file = file(&stage)?;
    let index = tunnel(&stage)?["index"].clone();
    let down = stage.by_name(WWW, "/changes.bin")?.args(&PACE).start();
    let up = stage.by_name(WWW, "/changes-up.bin")?.args(&PACE).upload(&file).start();
    thread::sleep(Duration::from_secs(1));
    stage.lab.remove_tunnel()?;
    wait_until(SOON, "the tunnel is missed", || {
        tunnel(&stage).is_ok_and(|tunnel| tunnel["index"].is_null())
    })?;
    stage.lab.restore_tunnel()?;
    wait_until(SOON, "the tunnel is attached", || {
        tunnel(&stage).is_ok_and(|tunnel| tunnel["attachment"] == "tcx")
    })?;
    assert_ne!(tunnel(&stage)?["index"], index, "an interface of the same name, but another");
    finish(&stage, down, up, &file, "changes-up.bin")
}

#[test]
fn a_tunnel_replaced_while_the_daemon_is_away_is_attached() -> Result<()> {
    let mut stage = stage();
    stage.daemon_mut()?.stop()?;
    stage.lab.remove_tunnel()?;
    stage.lab.remake_tunnel()?;
    stage.daemon_mut()?.resume()?;
    stage.lab.wait_for_tunnel()?;
    fetch(&stage, "/?replaced")?;
    assert_eq!(stage.by_ipv6("/?replaced6")?.run()?.status(), 200);
    Ok(())
}

#[test]
fn addresses_of_the_uplink_are_listed_as_they_come_and_go() -> Result<()> {
    let mut stage = stage();
    let other = Ipv4Addr::new(198, 51, 100, 3);
    let listed = |stage: &Stage| stage.daemon()?.listens(SocketAddrV4::new(other, 443));
    assert!(!listed(&stage)?);
    stage.disturbed = true;
    stage.lab.vps.ip(&format!("addr add {other}/24 dev eth0\n"))?;
    wait_until(SOON, "the address is listed", || listed(&stage).is_ok_and(|listed| listed))?;
    let answer = stage
        .by_name(WWW, "/?second-address")?
        .args(&["--connect-to", &format!("::{other}:443"), "--max-time", "5"])
        .run()?;
    assert_eq!(answer.status(), 200, "{}", answer.error());
    stage.lab.vps.ip(&format!("addr del {other}/24 dev eth0\n"))?;
    wait_until(SOON, "the address is gone", || listed(&stage).is_ok_and(|listed| !listed))?;
    stage.disturbed = false;
    fetch(&stage, "/?first-address")
}

/// The configuration fits, until the provider gives the uplink one more address.
#[test]
fn ports_that_find_no_room_leave_the_rest_at_work() -> Result<()> {
    const ROOM: usize = MAX_LISTENERS as usize;
    let mut stage = stage();
    let usual = config(&stage.lab);
    let many: Vec<String> = (20_000..22_100).map(|port| port.to_string()).collect();
    let listed = |stage: &Stage| -> Result<usize> {
        let status = stage.daemon()?.ctl_json(&["status"])?;
        Ok(status["listen"].as_array().context("a list of what is listened on")?.len())
    };
    stage.disturbed = true;
    stage.daemon_mut()?.stop()?;
    stage
        .daemon()?
        .configure(&usual.replace("[443, 8443]", &format!("[443, 8443, {}]", many.join(", "))))?;
    stage.lab.vps.ip("addr add 198.51.100.3/24 dev eth0\n")?;
    stage.daemon_mut()?.resume()?;
    let (attached, both) = (tunnel(&stage)?["attachment"].take(), listed(&stage));
    let fetched = fetch(&stage, "/?overfull");
    let log = std::fs::read_to_string(stage.daemon()?.log())?;
    stage.lab.vps.ip("addr del 198.51.100.3/24 dev eth0\n")?;
    let fits = wait_until(SOON, "all ports of one address are listed", || {
        listed(&stage).is_ok_and(|listed| listed == many.len() + 3)
    });
    stage.daemon()?.configure(&usual)?;
    let reloaded = stage.daemon()?.ctl(&["reload"])?;
    assert_eq!(attached, "tcx");
    fetched?;
    assert_eq!(both?, ROOM);
    assert!(log.contains("only 4096 can be listed"), "nothing is said of the others");
    fits?;
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert_eq!(listed(&stage)?, 3);
    stage.disturbed = false;
    Ok(())
}

#[test]
fn a_tunnel_that_shrinks_under_its_flows() -> Result<()> {
    let mut stage = stage();
    forget_paths(&stage)?;
    let file = file(&stage)?;
    assert_eq!(offered_mss(&stage)?, 1360);
    let down = stage.by_name(WWW, "/changes.bin")?.args(&PACE).start();
    let up = stage.by_name(WWW, "/shrunk.bin")?.args(&PACE).upload(&file).start();
    thread::sleep(Duration::from_secs(1));
    let tunnel = stage.lab.tunnel().to_owned();
    let dropped = stage.daemon()?.drops("too_big")?;
    stage.disturbed = true;
    stage.lab.vps.ip(&format!("link set {tunnel} mtu 1340\n"))?;
    wait_until(SOON, "the new MSS is offered", || {
        offered_mss(&stage).is_ok_and(|mss| mss == 1280)
    })?;
    let result = finish(&stage, down, up, &file, "shrunk.bin");
    let dropped = stage.daemon()?.drops("too_big")? - dropped;
    stage.lab.vps.ip(&format!("link set {tunnel} mtu 1420\n"))?;
    wait_until(SOON, "the old MSS is offered again", || {
        offered_mss(&stage).is_ok_and(|mss| mss == 1360)
    })?;
    stage.disturbed = false;
    assert!(dropped > 0, "the flow never noticed");
    assert!(dropped < 200, "{dropped}: told again and again");
    result
}

#[test]
fn an_uplink_that_shrinks_under_its_flows() -> Result<()> {
    let mut stage = stage();
    forget_paths(&stage)?;
    let file = file(&stage)?;
    let down = stage.by_name(WWW, "/changes.bin")?.args(&PACE).start();
    let up = stage.by_name(WWW, "/shrunk-uplink.bin")?.args(&PACE).upload(&file).start();
    thread::sleep(Duration::from_secs(1));
    let dropped = stage.daemon()?.drops("too_big")?;
    stage.disturbed = true;
    set_uplink_mtu(&stage, 1320)?;
    wait_until(SOON, "the new MSS is offered", || {
        offered_mss(&stage).is_ok_and(|mss| mss == 1280)
    })?;
    let result = finish(&stage, down, up, &file, "shrunk-uplink.bin");
    let dropped = stage.daemon()?.drops("too_big")? - dropped;
    set_uplink_mtu(&stage, 1500)?;
    wait_until(SOON, "the old MSS is offered again", || {
        offered_mss(&stage).is_ok_and(|mss| mss == 1360)
    })?;
    stage.disturbed = false;
    assert!(dropped > 0, "the flow never noticed");
    result
}

#[test]
fn an_uplink_that_goes_down_and_up_under_its_flows() -> Result<()> {
    let stage = stage();
    let file = file(&stage)?;
    let down = stage.by_name(WWW, "/changes.bin")?.args(&PACE).start();
    let up = stage.by_name(WWW, "/down-up.bin")?.args(&PACE).upload(&file).start();
    thread::sleep(Duration::from_secs(1));
    stage.lab.vps.ip("link set eth0 down\n")?;
    thread::sleep(Duration::from_millis(500));
    stage.lab.set_up_uplink()?;
    finish(&stage, down, up, &file, "down-up.bin")?;
    fetch(&stage, "/?up-again")?;
    assert_eq!(stage.by_ipv6("/?up-again6")?.run()?.status(), 200);
    Ok(())
}

#[test]
fn an_uplink_that_is_another_after_all() -> Result<()> {
    let stage = stage();
    // As after a hot-plug: same name, same addresses, other interface.
    let (vps, inet) = (&stage.lab.vps, &stage.lab.inet);
    vps.ip("link del eth0\n")?;
    thread::sleep(Duration::from_millis(300));
    vps.ip(&format!("link add name eth0 type veth peer name vps netns {}\n", inet.name()))?;
    inet.ip("addr add 198.51.100.1/24 dev vps\n\
         addr add 2001:db8:f::1/64 dev vps nodad\n\
         link set vps up\n\
         route add 2001:db8:1::/64 via 2001:db8:f::2\n")?;
    stage.lab.set_up_uplink()?;
    wait_until(SOON, "the uplink is attached", || {
        let status = stage.daemon().and_then(|daemon| daemon.ctl_json(&["status"]));
        status.is_ok_and(|status| {
            status["uplink"]["attachment"] == "tcx" && status["listen"] != Value::Array(vec![])
        })
    })?;
    fetch(&stage, "/?another-uplink")?;
    let ping = ping6(&stage.lab.www, &["-c2", "-w5", "-i0.05", "2001:db8:c::2"])?;
    assert!(ping.contains(" 2 received"), "{ping}");
    Ok(())
}

#[test]
fn names_outlive_an_orderly_stop() -> Result<()> {
    let mut stage = stage();
    file(&stage)?;
    let slow = stage.by_name(WWW, "/slow/changes.bin")?.args(&["--max-time", "4"]).start();
    thread::sleep(Duration::from_secs(1));
    stage.daemon_mut()?.stop()?;
    assert!(!stage.daemon()?.socket().exists(), "nobody asks a daemon that is no more");
    stage.daemon_mut()?.resume()?;
    let flows = stage.daemon()?.flows()?;
    let port = format!(":{}", slow.join().expect("no panic")?.local_port());
    let flow = flows
        .iter()
        .find(|flow| flow["client"].as_str().is_some_and(|client| client.ends_with(&port)))
        .with_context(|| format!("no flow of {port} in {flows:?}"))?;
    assert_eq!(flow["host"], WWW);
    assert_eq!(flow["site"], "home");
    Ok(())
}

#[test]
fn a_dead_daemons_socket_is_no_obstacle() -> Result<()> {
    let mut stage = stage();
    stage.daemon_mut()?.kill();
    assert!(stage.daemon()?.socket().exists());
    stage.daemon_mut()?.resume()?;
    fetch(&stage, "/?stale-socket")
}

/// Adds and removes sites by restart, which must not mix up whose flows are whose.
#[test]
fn a_site_that_is_listed_later_takes_nobodys_place() -> Result<()> {
    let mut stage = stage();
    let file = file(&stage)?;
    let down = stage.by_name(WWW, "/changes.bin")?.args(&PACE).start();
    let up = stage.by_name(WWW, "/sites.bin")?.args(&PACE).upload(&file).start();
    thread::sleep(Duration::from_secs(1));
    let usual = config(&stage.lab);
    let another =
        "[[site]]\nname = \"aaa\"\ninterface = \"none0\"\nprefixes = [\"2001:db8:1:0:9::/80\"]\n\n";
    let daemon: &mut Daemon = stage.daemon_mut()?;
    daemon.stop()?;
    daemon.configure(&usual.replacen("[[site]]", &format!("{another}[[site]]"), 1))?;
    daemon.resume()?;
    let result = finish(&stage, down, up, &file, "sites.bin");
    stage.daemon()?.configure(&usual)?;
    let reloaded = stage.daemon()?.ctl(&["reload"])?;
    assert!(reloaded.status.success(), "{reloaded:?}");
    fetch(&stage, "/?one-site")?;
    result
}

fn fetch(stage: &Stage, path: &str) -> Result<()> {
    let answer = stage.by_name(WWW, path)?.args(&["--max-time", "10"]).run()?;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.error());
    Ok(())
}

fn tunnel(stage: &Stage) -> Result<Value> {
    let mut status = stage.daemon()?.ctl_json(&["status"])?;
    Ok(status["sites"][0]["interface"].take())
}

/// What an earlier test has taught the ends about the path's MTU.
fn forget_paths(stage: &Stage) -> Result<()> {
    for (namespace, family) in [(&stage.lab.client, "-4"), (&stage.lab.www, "-6")] {
        let mut flush = Command::new("ip");
        flush.args([family, "-netns", namespace.name(), "route", "flush", "cache"]);
        process::output(&mut flush)?;
    }
    Ok(())
}

/// Both ends of the link, as a path has it: WireGuard's packets are cut in pieces from now on.
fn set_uplink_mtu(stage: &Stage, mtu: u16) -> Result<()> {
    stage.lab.inet.ip(&format!("link set vps mtu {mtu}\n"))?;
    stage.lab.vps.ip(&format!("link set eth0 mtu {mtu}\n"))
}

fn offered_mss(stage: &Stage) -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(30_000);
    let port = NEXT.fetch_add(1, Ordering::Relaxed);
    let link = RawLink::open(&stage.lab)?;
    let connection = link.connect(port, SocketAddrV4::new(VPS4, 443), 5, USUAL_OPTIONS)?;
    connection.syn_ack.mss().context("no MSS is offered")
}

fn file(stage: &Stage) -> Result<PathBuf> {
    let file = stage.web.root().join("changes.bin");
    if !file.exists() {
        random_file(&file, MEGABYTES)?;
    }
    Ok(file)
}

type Transfer = thread::JoinHandle<Result<ingress_tests::client::Answer>>;

fn finish(stage: &Stage, down: Transfer, up: Transfer, file: &Path, name: &str) -> Result<()> {
    let (down, up) = (down.join().expect("no panic")?, up.join().expect("no panic")?);
    assert_eq!(down.exit_code(), 0, "{}", down.error());
    assert!(same_content(&down.body, file)?, "what came is not what was sent");
    assert_eq!(up.exit_code(), 0, "{}", up.error());
    let stored = stage.web.root().join(name);
    assert!(same_content(&stored, file)?, "what was stored is not what was sent");
    std::fs::remove_file(&down.body)?;
    std::fs::remove_file(stored)?;
    Ok(())
}
