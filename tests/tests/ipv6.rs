//! IPv6 through the VPS: as a router would, without userspace.

use anyhow::{Context, Result};
use ingress_tests::addresses::{CLIENT6, SITE_PREFIX, VPS6, WWW6};
use ingress_tests::capture::Capture;
use ingress_tests::segment::{Segment, flag};
use ingress_tests::shared::{Stage, stage};
use std::net::IpAddr;

/// Tunnel MTU minus the headers of IPv6 and TCP.
const CLAMPED: u16 = 1360;

/// Routers between the client and the web server: provider, VPS, home.
const ROUTERS: u8 = 3;

#[test]
fn a_page_over_ipv6_shows_the_servers_the_clients_own_address() -> Result<()> {
    let stage = stage();
    let answer = stage.by_ipv6("/?ipv6-page")?.run()?;
    assert_eq!(answer.exit_code(), 0, "{}", answer.error());
    assert_eq!(answer.facts["http_version"], "2");
    let seen = stage.web.request("/?ipv6-page")?;
    assert_eq!(seen["client"], CLIENT6.to_string());
    assert_eq!(seen["port"], answer.local_port());
    Ok(())
}

#[test]
fn both_sides_can_ping_the_other() -> Result<()> {
    let stage = stage();
    let (client, server) = (&stage.lab.client, &stage.lab.www);
    for (from, to) in [(client, WWW6), (server, CLIENT6)] {
        let ping = ping(from, &["-c3", "-w10", "-i0.05", &to.to_string()])?;
        assert!(ping.contains(" 3 received"), "{ping}");
    }
    Ok(())
}

#[test]
fn the_last_hop_ends_at_the_vps_with_time_exceeded() -> Result<()> {
    let stage = stage();
    let at = |hops: &str| ping(&stage.lab.client, &["-c1", "-t", hops, &WWW6.to_string()]);
    let second = at("2")?;
    assert!(second.contains(&format!("From {VPS6} ")), "{second}");
    assert!(second.contains("Time exceeded"), "{second}");
    let third = at("3")?;
    assert!(third.contains("Time exceeded") && !third.contains(&VPS6.to_string()), "{third}");
    assert!(at("4")?.contains(" 1 received"));
    Ok(())
}

#[test]
fn hop_limits_count_down_and_segments_fit_the_tunnel() -> Result<()> {
    let stage = stage();
    let filter = "ip6 and tcp port 443";
    let at_server = Capture::start(&stage.lab.www, "eth0", filter, stage.lab.dir())?;
    let at_client = Capture::start(&stage.lab.client, "eth0", filter, stage.lab.dir())?;
    let answer = stage.by_ipv6("/?hops")?.run()?;
    assert_eq!(answer.exit_code(), 0, "{}", answer.error());
    let (at_server, at_client) = (segments(at_server)?, segments(at_client)?);

    let syn = at_server.iter().find(|segment| segment.is(flag::SYN)).context("no SYN arrived")?;
    let syn_ack = at_client
        .iter()
        .find(|segment| segment.is(flag::SYN | flag::ACK))
        .context("no SYN-ACK arrived")?;
    for segment in [syn, syn_ack] {
        assert_eq!(segment.mss(), Some(CLAMPED), "{segment:?}");
    }
    for (received, sender) in [(&at_server, IpAddr::V6(CLIENT6)), (&at_client, WWW6.into())] {
        for segment in received.iter().filter(|segment| segment.source.ip() == sender) {
            assert_eq!(segment.hops, 64 - ROUTERS, "{segment:?}");
        }
    }
    Ok(())
}

#[test]
fn addresses_of_the_home_are_not_believed_from_outside() -> Result<()> {
    let stage = stage();
    let capture = Capture::start(
        &stage.lab.vps,
        stage.lab.tunnel(),
        "icmp6 and ip6[40] == 128",
        stage.lab.dir(),
    )?;
    let spoofed = ["2001:db8:1:0:1::99", "64:ff9b:1::c633:6401"];
    for source in spoofed {
        stage.lab.client.ip(&format!("addr add {source}/128 dev lo nodad\n"))?;
        ping(&stage.lab.client, &["-c2", "-i0.1", "-W1", "-I", source, &WWW6.to_string()])?;
        stage.lab.client.ip(&format!("addr del {source}/128 dev lo\n"))?;
    }
    // An honest one, as proof that the capture would have seen the others.
    let honest = ping(&stage.lab.client, &["-c1", &WWW6.to_string()])?;
    assert!(honest.contains(" 1 received"), "{honest}");
    let sources: Vec<IpAddr> =
        capture.stop()?.iter().filter_map(|packet| source6(packet)).collect();
    assert_eq!(sources, [IpAddr::V6(CLIENT6)], "{SITE_PREFIX} and NAT46 come from the tunnel only");
    Ok(())
}

#[test]
fn what_does_not_fit_the_tunnel_is_answered() -> Result<()> {
    let stage = stage();
    let big = ["-c1", "-W2", "-M", "do", "-s", "1400", &WWW6.to_string()];
    let ping = ping(&stage.lab.client, &big)?;
    assert!(ping.contains("mtu=1420") || ping.contains("mtu 1420"), "{ping}");
    Ok(())
}

#[test]
fn ports_that_are_listed_for_ipv4_are_nothing_special() -> Result<()> {
    let stage: &Stage = &stage();
    let opened = || stage.daemon()?.metric("flows_opened_total");
    let packets = |path: &str| {
        stage.daemon()?.metric(&format!("packets_total{{path=\"{path}\",direction=\"in\"}}"))
    };
    let before = (opened()?, packets("nat46")?, packets("ipv6")?);
    let answer = stage.by_ipv6("/?second")?.args(&["--http1.1"]).run()?;
    assert_eq!(answer.status(), 200, "{}", answer.error());
    assert_eq!((opened()?, packets("nat46")?), (before.0, before.1), "IPv6 has no flows");
    assert!(packets("ipv6")? > before.2);
    Ok(())
}

/// What ping prints; that nobody answers is no error.
fn ping(from: &ingress_tests::netns::Namespace, args: &[&str]) -> Result<String> {
    let output = from.command("ping")?.arg("-6").args(args).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr))
}

fn segments(capture: Capture) -> Result<Vec<Segment>> {
    Ok(capture.stop()?.iter().filter_map(|packet| Segment::read(packet)).collect())
}

fn source6(packet: &[u8]) -> Option<IpAddr> {
    let bytes: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    Some(bytes.into())
}
