//! PostgreSQL over IPv4 by name: psql against a real server, and the protocol's corners octet by octet.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{CLIENT_NAT46, DB, DB6, UNKNOWN, VPS4, WWW, WWW6};
use ingress_tests::client::psql;
use ingress_tests::hello::Hello;
use ingress_tests::plain::{self, POSTGRES_PORT, Server, drain, expect, noise};
use ingress_tests::process;
use ingress_tests::rawclient::{RawLink, USUAL_OPTIONS};
use ingress_tests::segment::flag;
use ingress_tests::shared::{Stage, stage};
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSSENC_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const STARTUP: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";

#[test]
fn psql_says_the_same_over_ipv4_by_name_and_over_ipv6() -> Result<()> {
    let mut stage = stage();
    stage.postgres()?;
    let query =
        "select count(*), sum(n), md5(string_agg(n::text, ',')) from generate_series(1, 100000) n";
    let by_name = psql(&stage.lab, DB, query)?;
    let direct = text(&run(&stage, &format!("host={DB6} port=5432 {REQUIRE}"), query)?);
    assert_eq!(by_name, direct);
    // What psql does when it is told nothing: GSSAPI is not built in or has no ticket, then TLS.
    let preferred = format!("host={DB} hostaddr={VPS4} user=postgres sslmode=prefer");
    let who = text(&run(
        &stage,
        &preferred,
        "select inet_client_addr(), ssl from pg_stat_ssl join pg_stat_activity using (pid) where pid = pg_backend_pid()",
    )?);
    assert_eq!(who.trim(), format!("{CLIENT_NAT46}|t"));
    Ok(())
}

#[test]
fn who_wants_no_tls_is_told_what_is_needed() -> Result<()> {
    let mut stage = stage();
    stage.postgres()?;
    let plain = format!("host={DB} hostaddr={VPS4} user=postgres sslmode=disable");
    let start = Instant::now();
    let refused = run(&stage, &plain, "select 1")?;
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("sslmode=require"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // A name that leads nowhere is a TLS alert, behind the SSLRequest, too.
    let nobody = format!("host={UNKNOWN} hostaddr={VPS4} {REQUIRE}");
    let refused = run(&stage, &nobody, "select 1")?;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("unrecognized name"), "{said}");
    Ok(())
}

#[test]
fn bulk_copies_both_ways_through_a_restart() -> Result<()> {
    let mut stage = stage();
    stage.postgres()?;
    let lines: String = (0..600_000u32)
        .map(|n| format!("{n},{:08x}{:08x}\n", n.wrapping_mul(0x9e37_79b9), n ^ 0x5bd1_e995))
        .collect();
    psql(&stage.lab, DB, "create table bulk (n int, t text)")?;
    let mut copy = client(&stage, &by_name(DB), "copy bulk from stdin (format csv)")?;
    copy.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut copy = copy.spawn()?;
    let (mut stdin, slow) = (copy.stdin.take().context("a pipe")?, lines.clone());
    let feeding = thread::spawn(move || {
        // Slow enough to be under way during the restart.
        slow.as_bytes().chunks(1 << 17).try_for_each(|piece| {
            thread::sleep(Duration::from_millis(100));
            stdin.write_all(piece)
        })
    });
    thread::sleep(Duration::from_millis(1200));
    stage.daemon_mut()?.kill();
    thread::sleep(Duration::from_millis(500));
    stage.daemon_mut()?.resume()?;
    assert!(!feeding.is_finished(), "the copy was over before the daemon was back");
    let copied = copy.wait_with_output()?;
    ensure!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let count = psql(&stage.lab, DB, "select count(*) from bulk")?;
    assert_eq!(count.trim(), "600000");

    let mut copy = client(
        &stage,
        &by_name(DB),
        "copy (select * from bulk order by n) to stdout (format csv)",
    )?;
    let copy = copy.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    stage.daemon_mut()?.stop()?;
    thread::sleep(Duration::from_millis(300));
    stage.daemon_mut()?.resume()?;
    let came = copy.wait_with_output()?;
    ensure!(
        came.status.success() && came.stdout == lines.as_bytes(),
        "{} octets",
        came.stdout.len()
    );
    psql(&stage.lab, DB, "drop table bulk")?;
    Ok(())
}

/// `sslnegotiation=direct` of PostgreSQL 17: the hello comes at once, and the server gets it so.
#[test]
fn tls_may_begin_at_once() -> Result<()> {
    let (stage, server) = begin()?;
    let mut client = plain::client(&stage.lab, POSTGRES_PORT)?;
    let hello = Hello::for_name(WWW).bytes();
    client.write_all(&hello)?;
    let mut stream = server.accept(plain::PATIENCE)?;
    expect(&mut stream, &hello)?;
    exchange(&mut client, &mut stream)?;
    drop((client, stream, server));

    // With real TLS at both ends.
    let mut s_server = stage.lab.www.command("openssl")?;
    s_server
        .args(["s_server", "-quiet", "-accept", &format!("[{WWW6}]:{POSTGRES_PORT}"), "-www"])
        .arg("-cert")
        .arg(&stage.certificate.certificate)
        .arg("-key")
        .arg(&stage.certificate.key);
    let _s_server = process::Process::spawn(&mut s_server, &stage.lab.dir().join("s_server.log"))?;
    ingress_tests::servers::wait_for_listener(&stage.lab.www, WWW6, POSTGRES_PORT)?;
    let mut s_client = stage.lab.client.command("openssl")?;
    s_client
        .args([
            "s_client",
            "-brief",
            "-alpn",
            "postgresql",
            "-servername",
            WWW,
            "-verify_return_error",
        ])
        .args(["-connect", &format!("{VPS4}:{POSTGRES_PORT}"), "-CAfile"])
        .arg(&stage.certificate.certificate);
    let said = process::run(&mut s_client)?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("Verification: OK"), "{said}");
    Ok(())
}

/// Each request is answered before the server is known, and the server has to agree later.
#[test]
fn requests_are_answered_and_repeated_to_the_server() -> Result<()> {
    let (stage, server) = begin()?;
    for (requests, wait) in [
        (vec![(SSL_REQUEST, b'S')], 0),
        (vec![(GSSENC_REQUEST, b'N'), (SSL_REQUEST, b'S')], 0),
        // A server that takes its time to answer.
        (vec![(SSL_REQUEST, b'S')], 1000),
    ] {
        let mut client = plain::client(&stage.lab, POSTGRES_PORT)?;
        for (request, answer) in &requests {
            client.write_all(request)?;
            expect(&mut client, &[*answer])?;
        }
        let hello = Hello::for_name(WWW).bytes();
        client.write_all(&hello)?;
        let mut stream = server.accept(plain::PATIENCE)?;
        for (request, answer) in &requests {
            expect(&mut stream, request)?;
            thread::sleep(Duration::from_millis(wait));
            stream.write_all(&[*answer])?;
        }
        expect(&mut stream, &hello)?;
        exchange(&mut client, &mut stream)?;
        let much = noise(5, 1 << 20);
        let pouring = plain::pour(&stream, much.clone())?;
        ensure!(drain(&mut client)? == much, "down");
        pouring.join().expect("no panic")?;
    }
    Ok(())
}

#[test]
fn a_server_without_tls_is_an_alert() -> Result<()> {
    let (stage, server) = begin()?;
    for answer in [&b"N"[..], b"SX", b"E\0\0\0\x08abcd"] {
        let mut client = plain::client(&stage.lab, POSTGRES_PORT)?;
        client.write_all(SSL_REQUEST)?;
        expect(&mut client, b"S")?;
        client.write_all(&Hello::for_name(WWW).bytes())?;
        let mut stream = server.accept(plain::PATIENCE)?;
        expect(&mut stream, SSL_REQUEST)?;
        stream.write_all(answer)?;
        // internal_error, then a proper end.
        assert_eq!(drain(&mut client)?, [21, 3, 3, 0, 2, 2, 80]);
        let rest = stream.read(&mut [0; 100]);
        assert!(rest.is_err() || rest.is_ok_and(|len| len == 0), "the hello was not for it");
    }
    Ok(())
}

#[test]
fn a_startup_message_gets_an_error_response_and_a_close() -> Result<()> {
    let (stage, server) = begin()?;
    for opening in [&[][..], GSSENC_REQUEST] {
        let mut client = plain::client(&stage.lab, POSTGRES_PORT)?;
        if !opening.is_empty() {
            client.write_all(opening)?;
            expect(&mut client, b"N")?;
        }
        client.write_all(STARTUP)?;
        let error = drain(&mut client).context("a close, and no reset")?;
        assert_eq!(error[0], b'E');
        let len = u32::from_be_bytes(error[1..5].try_into()?) as usize;
        assert_eq!(len, error.len() - 1);
        let fields: Vec<&[u8]> = error[5..].split(|octet| *octet == 0).collect();
        assert!(fields.iter().any(|field| field.starts_with(b"SFATAL")), "{fields:?}");
        assert!(fields.iter().any(|field| field.starts_with(b"C28000")), "{fields:?}");
    }
    assert!(!server.is_called());
    Ok(())
}

/// CVE-2021-23222: what follows the request without waiting for its answer is protected by nothing.
#[test]
fn octets_behind_the_request_are_refused() -> Result<()> {
    let (stage, server) = begin()?;
    let link = RawLink::open(&stage.lab)?;
    for (nth, extra) in [&b"x"[..], &Hello::for_name(WWW).bytes()].into_iter().enumerate() {
        let to = SocketAddrV4::new(VPS4, POSTGRES_PORT);
        let connection = link.connect(47_000 + nth as u16, to, 9, USUAL_OPTIONS)?;
        link.data(&connection, 0, &[SSL_REQUEST, extra].concat())?;
        let answer = link.receive(connection.local, Duration::from_secs(1))?.context("nothing")?;
        assert!(answer.flags & flag::RST != 0, "{answer:?}");
        assert_eq!(answer.seq, connection.next);
    }
    assert!(!server.is_called());
    Ok(())
}

const REQUIRE: &str = "user=postgres sslmode=require connect_timeout=10";

fn by_name(name: &str) -> String {
    format!("host={name} hostaddr={VPS4} port=5432 {REQUIRE}")
}

fn client(stage: &Stage, connection: &str, query: &str) -> Result<Command> {
    let mut psql = stage.lab.client.command("psql")?;
    psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", query, connection]);
    Ok(psql)
}

fn run(stage: &Stage, connection: &str, query: &str) -> Result<Output> {
    process::run(&mut client(stage, connection, query)?)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn exchange(client: &mut TcpStream, server: &mut TcpStream) -> Result<()> {
    client.write_all(b"up")?;
    expect(server, b"up")?;
    server.write_all(b"down")?;
    expect(client, b"down")
}

fn begin() -> Result<(std::sync::MutexGuard<'static, Stage>, Server)> {
    let stage = stage();
    plain::list(&stage, &[])?;
    let server = Server::start(&stage.lab.www, WWW6, POSTGRES_PORT)?;
    Ok((stage, server))
}
