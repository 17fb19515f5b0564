//! `[policy]`: what comes in from outside and what does not, and that a change of it cuts nothing.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{ALIAS, CLIENT4, CLIENT6, DB6, WWW, WWW6};
use ingress_tests::client::{ping6, random_file, same_content};
use ingress_tests::daemon::{self, config, once};
use ingress_tests::netns::Namespace;
use ingress_tests::shared::{self, Stage};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::MutexGuard;
use std::thread;
use std::time::Duration;

/// Nobody has a rule for it.
const PORT: u16 = 7777;
const CLOSED: &str = r#"
[policy]
ipv6 = "closed"
[[allow]]
to = ["2001:db8:1:0:1::80"]
protocol = "tcp"
ports = [443, "8000-8010"]
"#;
const NOTHING_ALLOWED: &str = "[policy]\nipv6 = \"closed\"\n";
/// Longer than a packet takes, and its repetition.
const SILENCE: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon that has never known another policy than this.
fn stage(policy: &str) -> Result<MutexGuard<'static, Stage>> {
    let mut stage = shared::stage();
    let config = config(&stage.lab) + policy;
    stage.daemon_mut()?.stop()?;
    let detached = once(&stage.lab, &config, &[], &["detach"])?;
    ensure!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    stage.daemon_mut()?.configure(&config)?;
    stage.daemon_mut()?.resume()?;
    Ok(stage)
}

fn reload(stage: &Stage, policy: &str) -> Result<()> {
    stage.daemon()?.configure(&(config(&stage.lab) + policy))?;
    let reloaded = stage.daemon()?.ctl(&["reload"])?;
    ensure!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    Ok(())
}

/// Whether a connection comes about.
fn connects(from: &Namespace, to: Ipv6Addr, port: u16) -> Result<bool> {
    from.enter(|| TcpStream::connect_timeout(&SocketAddr::new(to.into(), port), SILENCE).is_ok())
}

/// A connection, and its two ends, first that of who makes it.
fn connection(
    from: &Namespace,
    to: &Namespace,
    address: Ipv6Addr,
    port: u16,
) -> Result<(TcpStream, TcpStream)> {
    let listener = to.enter(|| TcpListener::bind((address, port)))??;
    let peer = SocketAddr::new(address.into(), port);
    let near = from.enter(|| TcpStream::connect_timeout(&peer, PATIENCE))??;
    let (far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((near, far))
}

fn say(from: &mut TcpStream, to: &mut TcpStream, what: &[u8]) -> Result<()> {
    from.write_all(what)?;
    let mut heard = vec![0; what.len()];
    to.read_exact(&mut heard).context("nothing arrives")?;
    assert_eq!(heard, what);
    Ok(())
}

fn datagrams(machine: &Namespace, address: Ipv6Addr, port: u16) -> Result<UdpSocket> {
    let socket = machine.enter(|| UdpSocket::bind((address, port)))??;
    socket.set_read_timeout(Some(SILENCE))?;
    Ok(socket)
}

/// What comes, if anything does.
fn heard(socket: &UdpSocket) -> Result<Option<Vec<u8>>> {
    let mut room = [0; 100];
    match socket.recv(&mut room) {
        Ok(len) => Ok(Some(room[..len].to_vec())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[test]
fn a_closed_policy_lets_in_what_is_allowed() -> Result<()> {
    let stage = stage(CLOSED)?;
    let (client, www) = (&stage.lab.client, &stage.lab.www);
    assert_eq!(stage.by_ipv6("/?allowed")?.run()?.status(), 200);
    let _ends = connection(client, www, WWW6, 8010)?;

    let before = stage.daemon()?.drops("policy_closed")?;
    let _listener = www.enter(|| TcpListener::bind((WWW6, PORT)))??;
    assert!(!connects(client, WWW6, PORT)?);
    let one = stage.daemon()?.drops("policy_closed")?;
    assert!(one > before, "{one}");
    assert!(!connects(client, DB6, 5432)?, "the rule names another server");
    let socket = datagrams(www, WWW6, PORT)?;
    datagrams(client, CLIENT6, 0)?.send_to(b"hello", (WWW6, PORT))?;
    assert_eq!(heard(&socket)?, None);
    assert!(stage.daemon()?.drops("policy_closed")? > one + 1);

    // By name over IPv4 nothing has changed.
    assert_eq!(stage.by_name(WWW, "/?four")?.run()?.status(), 200);
    let status = stage.daemon()?.ctl_json(&["status"])?;
    assert_eq!(
        (&status["policy"]["ipv6"], &status["policy"]["allow"]),
        (&"closed".into(), &1.into())
    );
    let table = String::from_utf8(stage.daemon()?.ctl(&["status"])?.stdout)?;
    assert!(table.contains("IPv6 is closed but for 1 rule and answers"), "{table}");
    let explained = stage.daemon()?.ctl(&["explain", WWW])?;
    let text = String::from_utf8_lossy(&explained.stdout);
    assert!(text.contains("the [[allow]] number 1 lets in everybody"), "{text}");
    Ok(())
}

#[test]
fn answers_to_connections_from_inside_come_in() -> Result<()> {
    let stage = stage(NOTHING_ALLOWED)?;
    let (client, www) = (&stage.lab.client, &stage.lab.www);
    let (mut inside, mut outside) = connection(www, client, CLIENT6, PORT)?;
    say(&mut inside, &mut outside, b"question")?;
    say(&mut outside, &mut inside, &[7; 100_000])?;
    let listed = stage.daemon()?.ctl_json(&["policy", "connections"])?;
    let ours = format!("[{CLIENT6}]:{PORT}");
    let rows = listed["connections"].as_array().context("no list")?;
    let row = rows.iter().find(|row| row["outside"] == ours.as_str());
    let row = row.with_context(|| format!("not listed: {listed}"))?;
    assert_eq!((&row["protocol"], &row["state"]), (&6.into(), &"established".into()));
    assert_eq!(row["inside"], inside.local_addr()?.to_string());
    let table = String::from_utf8(stage.daemon()?.ctl(&["policy", "connections"])?.stdout)?;
    assert!(table.lines().any(|line| line.contains(&ours) && line.contains("tcp")), "{table}");
    drop(outside);
    assert_eq!(inside.read(&mut [0; 10])?, 0, "and the end of it, too");

    let (inside, outside) = (datagrams(www, WWW6, 0)?, datagrams(client, CLIENT6, PORT)?);
    let to = inside.local_addr()?;
    outside.send_to(b"unasked", to)?;
    assert_eq!(heard(&inside)?, None);
    inside.send_to(b"question", (CLIENT6, PORT))?;
    assert_eq!(heard(&outside)?.as_deref(), Some(&b"question"[..]));
    outside.send_to(b"answer", to)?;
    assert_eq!(heard(&inside)?.as_deref(), Some(&b"answer"[..]));
    datagrams(client, CLIENT6, 0)?.send_to(b"somebody else", to)?;
    assert_eq!(heard(&inside)?, None);
    Ok(())
}

#[test]
fn ping_and_path_mtu_discovery_work() -> Result<()> {
    let mut stage = stage(NOTHING_ALLOWED)?;
    stage.disturbed = true;
    let (client, www) = (&stage.lab.client, &stage.lab.www);
    for (from, to) in [(client, WWW6), (www, CLIENT6)] {
        let ping = ping6(from, &["-c3", "-w10", "-i0.05", &to.to_string()])?;
        assert!(ping.contains(" 3 received"), "{ping}");
    }
    let big = ping6(client, &["-c1", "-W2", "-M", "do", "-s", "1400", &WWW6.to_string()])?;
    assert!(big.contains("mtu=1420") || big.contains("mtu 1420"), "{big}");

    // A link in the world that is narrower than the tunnel: its router's word has to get in.
    let narrow = |mtu: u32| stage.lab.inet.ip(&format!("link set client mtu {mtu}\n"));
    narrow(1300)?;
    let (mut inside, mut outside) = connection(www, client, CLIENT6, PORT)?;
    let octets = vec![9; 200_000];
    let sent = octets.clone();
    let writer = thread::spawn(move || inside.write_all(&sent).map(|()| inside));
    let mut arrived = vec![0; octets.len()];
    let result = outside.read_exact(&mut arrived);
    narrow(1500)?;
    stage.disturbed = false;
    result.context("the path's MTU was not found")?;
    assert!(arrived == octets);
    drop(writer.join().expect("a writer")?);
    Ok(())
}

/// Downloads of all kinds go on, and so does a connection on which the outside speaks first, long after; what
/// begins is judged.
#[test]
fn closing_cuts_nothing() -> Result<()> {
    let mut stage = stage("")?;
    let file = stage.web.root().join("policy.bin");
    random_file(&file, 16)?;
    let pace = ["--limit-rate", "1M", "--speed-limit", "1000", "--speed-time", "5"];
    let by_name = stage.by_name(WWW, "/policy.bin")?.args(&pace).start();
    let by_ipv6 = stage.by_ipv6("/policy.bin")?.args(&pace).start();
    let (mut inside, mut outside) = connection(&stage.lab.www, &stage.lab.client, CLIENT6, PORT)?;
    thread::sleep(Duration::from_secs(1));
    let before = stage.daemon()?.drops("policy_closed")?;
    reload(&stage, NOTHING_ALLOWED)?;
    say(&mut outside, &mut inside, b"are you there?")?;
    assert!(!connects(&stage.lab.client, WWW6, 443)?, "that would be a new one");
    let dropped = stage.daemon()?.drops("policy_closed")? - before;
    assert!((1..=3).contains(&dropped), "nothing but a SYN and its repetition: {dropped}");

    // Nor does it matter who carries it.
    stage.daemon_mut()?.kill();
    say(&mut inside, &mut outside, b"yes")?;
    assert!(!connects(&stage.lab.client, WWW6, 443)?, "closed without a daemon, too");
    stage.daemon_mut()?.resume()?;
    say(&mut outside, &mut inside, b"good")?;
    let under_way = !by_name.is_finished() && !by_ipv6.is_finished();
    assert!(under_way, "the downloads ended before the daemon was back");
    assert!(!connects(&stage.lab.client, WWW6, 443)?);
    for download in [by_name, by_ipv6] {
        let answer = download.join().expect("a download")?;
        assert_eq!(answer.exit_code(), 0, "{}", answer.error());
        assert!(same_content(&answer.body, &file)?);
    }
    reload(&stage, "")?;
    assert!(connects(&stage.lab.client, WWW6, 443)?, "open again");
    Ok(())
}

#[test]
fn connections_from_inside_outlive_the_daemon() -> Result<()> {
    let mut stage = stage(NOTHING_ALLOWED)?;
    let (mut inside, mut outside) = connection(&stage.lab.www, &stage.lab.client, CLIENT6, PORT)?;
    say(&mut inside, &mut outside, b"one")?;
    stage.daemon_mut()?.stop()?;
    say(&mut outside, &mut inside, b"two")?;
    stage.daemon_mut()?.resume()?;
    say(&mut outside, &mut inside, b"three")?;
    let drops = stage.daemon()?.drops("policy_closed")?;
    assert!(!connects(&stage.lab.client, WWW6, 443)?);
    assert!(stage.daemon()?.drops("policy_closed")? > drops);
    Ok(())
}

#[test]
fn denied_clients_do_not_connect() -> Result<()> {
    let stage = stage("")?;
    let file = stage.web.root().join("denied.bin");
    random_file(&file, 8)?;
    let running = stage.by_name(WWW, "/denied.bin")?.args(&["--limit-rate", "3M"]).start();
    thread::sleep(Duration::from_secs(1));
    let lists = [
        format!("[policy]\ndeny_clients = [\"{CLIENT4}\", \"{CLIENT6}\"]\n"),
        "[policy]\nallow_clients = [\"203.0.113.0/24\", \"2001:db8:d::/48\"]\n".to_owned(),
    ];
    for list in &lists {
        let before = stage.daemon()?.drops("client_denied")?;
        reload(&stage, list)?;
        let answer = stage.by_name(WWW, "/")?.args(&["--max-time", "2"]).run()?;
        assert_eq!(answer.status(), 0, "{list}");
        assert!(!connects(&stage.lab.client, WWW6, 443)?, "{list}");
        assert!(stage.daemon()?.drops("client_denied")? >= before + 2);
        // Whom the inside calls may answer.
        drop(connection(&stage.lab.www, &stage.lab.client, CLIENT6, PORT)?);
    }
    let explained = stage.daemon()?.ctl(&["explain", &CLIENT4.to_string()])?;
    let text = String::from_utf8_lossy(&explained.stdout);
    assert!(text.contains("there is an allow_clients, and nothing in it fits"), "{text}");
    let answer = running.join().expect("a download")?;
    assert_eq!(answer.exit_code(), 0, "{}", answer.error());
    assert!(same_content(&answer.body, &file)?);
    reload(&stage, &format!("[policy]\nallow_clients = [\"{CLIENT4}/32\"]\n"))?;
    assert_eq!(stage.by_name(WWW, "/?may-again")?.run()?.status(), 200);
    Ok(())
}

#[test]
fn denied_names_lead_nowhere() -> Result<()> {
    const UNRECOGNIZED_NAME: &str = "unrecognized name";
    let stage = stage("[policy]\ndeny_names = [\"www.example.test\"]\n")?;
    let refused = |name: &str| -> Result<bool> {
        let answer = stage.by_name(name, "/")?.run()?;
        Ok(answer.exit_code() == 35 && answer.error().contains(UNRECOGNIZED_NAME))
    };
    assert!(refused(WWW)?);
    assert!(!refused(ALIAS)?, "the same server by another name");
    let metrics = stage.daemon()?.metrics()?;
    assert_eq!(daemon::metric(&metrics, "handshakes_total{outcome=\"denied_name\"}")?, 1.0);
    let explained = stage.daemon()?.ctl(&["explain", WWW])?;
    assert_eq!(explained.status.code(), Some(1));
    let text = String::from_utf8_lossy(&explained.stdout);
    assert!(text.contains("deny_names has www.example.test"), "{text}");
    let log = std::fs::read_to_string(stage.daemon()?.log())?;
    assert!(log.contains("denied_name"), "as other refusals");

    for (lists, www) in [
        ("deny_names = [\"*.example.test\"]", true),
        ("deny_names = [\"*.www.example.test\"]", false),
        ("allow_names = [\"*.example.org\"]", true),
        ("allow_names = [\"*.example.test\"]", false),
        ("allow_names = [\"*.example.test\"]\ndeny_names = [\"www.example.test\"]", true),
    ] {
        reload(&stage, &format!("[policy]\n{lists}\n"))?;
        assert_eq!(refused(WWW)?, www, "{lists}");
    }
    Ok(())
}

#[test]
fn a_policy_that_makes_no_sense_changes_nothing() -> Result<()> {
    let stage = stage(CLOSED)?;
    let slip = CLOSED.replace("2001:db8:1:0:1::80", "2001:db8:9::80");
    let config = config(&stage.lab) + &slip;
    stage.daemon()?.configure(&config)?;
    let reloaded = stage.daemon()?.ctl(&["reload"])?;
    assert_eq!(reloaded.status.code(), Some(78));
    let said = String::from_utf8_lossy(&reloaded.stderr);
    let line = 1 + config.lines().position(|line| line.starts_with("to = ")).context("to")?;
    assert!(said.contains(&format!(":{line}:")), "{said}");
    assert!(said.contains("\"2001:db8:9::80\" does not lie inside a site's prefixes"), "{said}");
    assert_eq!(stage.by_ipv6("/?still")?.run()?.status(), 200);
    assert!(!connects(&stage.lab.client, WWW6, PORT)?);
    Ok(())
}
