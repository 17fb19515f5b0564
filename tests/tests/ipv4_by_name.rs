//! TLS over IPv4: led to the server by the name that the client asks for.

use anyhow::{Context, Result};
use ingress_tests::addresses::{
    ALIAS, CLIENT_NAT46, CLIENT4, DB, HOSTS_ONLY, NOBODY, ONLY_IPV4, OUTSIDE, UNKNOWN, VPS4, WWW,
    WWW6,
};
use ingress_tests::client::{Curl, psql, random_file};
use ingress_tests::hello::Hello;
use ingress_tests::process::{patience, wait_until};
use ingress_tests::rawclient::{RawLink, USUAL_OPTIONS};
use ingress_tests::shared::stage;
use serde_json::Value;
use std::net::SocketAddrV4;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(1);

/// curl's exit codes.
const TLS_FAILED: i64 = 35;
const RECEIVE_FAILED: i64 = 56;

#[test]
fn a_page_comes_by_tls13_and_http2_and_the_server_knows_the_client() -> Result<()> {
    let stage = stage();
    let answer = stage.by_name(WWW, "/?by-name")?.run()?;
    assert_eq!(answer.exit_code(), 0, "{}", answer.error());
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.facts["http_version"], "2");
    let seen = stage.web.request("/?by-name")?;
    assert_eq!(seen["client"], CLIENT_NAT46.to_string());
    assert_eq!(seen["port"], answer.local_port());
    assert_eq!(seen["sni"], WWW);
    assert_eq!(seen["tls"], "TLSv1.3");
    Ok(())
}

#[test]
fn names_come_from_dns_aliases_and_the_configuration() -> Result<()> {
    let stage = stage();
    for name in [WWW, ALIAS, HOSTS_ONLY] {
        let path = format!("/?name={name}");
        let answer = stage.by_name(name, &path)?.run()?;
        assert_eq!(answer.status(), 200, "{name}: {}", answer.error());
        assert_eq!(stage.web.request(&path)?["sni"], name);
    }
    Ok(())
}

#[test]
fn every_listed_port_leads_to_the_same_port() -> Result<()> {
    let stage = stage();
    let curl = Curl::by_name_and_port(&stage.lab, &stage.certificate, WWW, 8443, "/?port=8443")?;
    let answer = curl.run()?;
    assert_eq!(answer.status(), 200, "{}", answer.error());
    assert_eq!(stage.web.request("/?port=8443")?["at"], 8443);
    Ok(())
}

#[test]
fn a_flow_is_listed_while_it_lasts() -> Result<()> {
    let stage = stage();
    random_file(&stage.web.root().join("listed.bin"), 1)?;
    let most = (3 * patience() / 2).to_string();
    let download = stage.by_name(WWW, "/slow/listed.bin")?.args(&["--max-time", &most]).start();
    let daemon = stage.daemon()?;
    let mut found = Value::Null;
    wait_until(Duration::from_secs(2), "the flow is listed with traffic", || {
        found = daemon
            .flows()
            .unwrap_or_default()
            .into_iter()
            .find(|flow| flow["host"] == WWW && flow["bytes_out"].as_u64() > Some(100_000))
            .unwrap_or_default();
        !found.is_null()
    })
    .with_context(|| format!("{:?}", daemon.flows()))?;
    let port = download.join().expect("no panic")?.local_port();
    assert_eq!(found["protocol"], "tls");
    assert_eq!(found["client"], format!("{CLIENT4}:{port}"));
    assert_eq!(found["listen"], format!("{VPS4}:443"));
    assert_eq!(found["site"], "home");
    assert_eq!(found["backend"], format!("[{WWW6}]:443"));
    assert_eq!(found["nat46_source"], CLIENT_NAT46.to_string());
    assert_eq!(found["state"], "established");
    for counter in ["packets_in", "packets_out", "bytes_in", "age_seconds", "idle_seconds"] {
        assert!(found[counter].is_number(), "{counter} in {found}");
    }
    assert!(found["packets_out"].as_u64() > Some(10), "{found}");
    Ok(())
}

#[test]
fn who_asks_for_nobody_we_know_is_told_so_at_once() -> Result<()> {
    let stage = stage();
    for name in [UNKNOWN, OUTSIDE, ONLY_IPV4] {
        let answer = stage.by_name(name, "/")?.args(&["--max-time", "5"]).run()?;
        assert_eq!(answer.exit_code(), TLS_FAILED, "{name}: {}", answer.error());
        assert!(answer.error().contains("unrecognized name"), "{name}: {}", answer.error());
        assert!(answer.time < SOON * patience(), "{name}: {:?}", answer.time);
    }
    Ok(())
}

#[test]
fn who_names_nobody_is_told_so_at_once() -> Result<()> {
    let stage = stage();
    // curl sends no name for a bare address.
    let answer = stage.by_name(&VPS4.to_string(), "/")?.args(&["--max-time", "5", "-k"]).run()?;
    assert_eq!(answer.exit_code(), TLS_FAILED, "{}", answer.error());
    assert!(answer.error().contains("unrecognized name"), "{}", answer.error());
    assert!(answer.time < SOON * patience(), "{:?}", answer.time);
    Ok(())
}

#[test]
fn a_closed_port_at_home_is_a_reset_here() -> Result<()> {
    let stage = stage();
    let answer = stage.by_name(DB, "/")?.args(&["--max-time", "15"]).run()?;
    assert!([TLS_FAILED, RECEIVE_FAILED].contains(&answer.exit_code()), "{}", answer.error());
    assert!(answer.error().contains("reset"), "{}", answer.error());
    assert!(answer.time < SOON * patience(), "{:?}", answer.time);
    Ok(())
}

#[test]
fn an_address_where_no_machine_is_ends_in_an_error() -> Result<()> {
    let stage = stage();
    let answer = stage.by_name(NOBODY, "/")?.args(&["--max-time", "15"]).run()?;
    assert!([TLS_FAILED, RECEIVE_FAILED].contains(&answer.exit_code()), "{}", answer.error());
    Ok(())
}

#[test]
fn one_port_can_be_used_again_and_again() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let hello = Hello::for_name(WWW).bytes();
    for round in 0..30u32 {
        let remote = SocketAddrV4::new(VPS4, 443);
        let isn = 0x1000_0000 + round * 0x0100_0000;
        let mut connection = link.connect(40_000, remote, isn, USUAL_OPTIONS)?;
        link.data(&connection, 0, &hello)?;
        let answer = link
            .first_answer(&mut connection, hello.len(), Duration::from_secs(3))
            .with_context(|| format!("round {round}"))?;
        assert_eq!(answer[0], 0x16, "round {round}: {answer:x?}");
        link.reset(&connection, hello.len())?;
    }
    Ok(())
}

#[test]
fn a_port_whose_last_user_vanished_can_be_used_again() -> Result<()> {
    let stage = stage();
    let link = RawLink::open(&stage.lab)?;
    let hello = Hello::for_name(WWW).bytes();
    for round in 0..5u32 {
        let isn = 0x2000_0000 + round * 0x0100_0000;
        let remote = SocketAddrV4::new(VPS4, 443);
        let mut connection = link.connect(40_001, remote, isn, USUAL_OPTIONS)?;
        link.data(&connection, 0, &hello)?;
        let answer = link
            .first_answer(&mut connection, hello.len(), Duration::from_secs(5))
            .with_context(|| format!("round {round}"))?;
        assert_eq!(answer[0], 0x16, "round {round}: {answer:x?}");
    }
    Ok(())
}

#[test]
fn postgresql_answers_by_name() -> Result<()> {
    let mut stage = stage();
    stage.postgres()?;
    let answer = psql(&stage.lab, DB, "select inet_client_addr(), 6 * 7")?;
    assert_eq!(answer.trim(), format!("{CLIENT_NAT46}|42"));
    let log = stage.postgres()?.log()?;
    assert!(log.contains(&format!("host={CLIENT_NAT46} ")), "{log}");
    Ok(())
}
