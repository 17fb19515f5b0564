//! Clients of many kinds, and many clients: over IPv4 by name it is as over IPv6 directly.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{CLIENT_NAT46, CLIENT6, VPS4, WWW, WWW6};
use ingress_tests::client::random_file;
use ingress_tests::hello::Hello;
use ingress_tests::plain;
use ingress_tests::process;
use ingress_tests::shared::{Stage, stage};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const MANY: usize = 300;

/// The hello in one piece, with Nagle's algorithm off.
const AT_ONCE: &[usize] = &[];

#[test]
fn three_hundred_at_the_same_time() -> Result<()> {
    let stage = stage();
    let hello = Hello::for_name(WWW).bytes();
    let start = Instant::now();
    let mut streams: Vec<TcpStream> =
        (0..MANY).map(|_| plain::client(&stage.lab, 443)).collect::<Result<_>>()?;
    for stream in &mut streams {
        stream.write_all(&hello)?;
    }
    for (nth, stream) in streams.iter_mut().enumerate() {
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).with_context(|| format!("connection {nth}"))?;
        assert_eq!((answer[0], answer[5]), (0x16, 2), "connection {nth}");
    }
    println!("{MANY} hellos answered in {:?}", start.elapsed());
    let flows = stage.daemon()?.flows()?.len();
    assert!(flows >= MANY, "{flows}");

    // And whole pages, as fast as one machine fetches them.
    drop(streams);
    let mut command = python(&stage, FETCH_MANY)?;
    let output = process::run(command.args([&VPS4.to_string(), WWW, &MANY.to_string()]))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    print!("{said}");
    assert!(said.starts_with(&format!("{MANY} of {MANY} ")), "{said}");
    Ok(())
}

#[test]
fn every_client_gets_the_same_both_ways() -> Result<()> {
    let stage = stage();
    random_file(&stage.web.root().join("same.bin"), 2)?;
    for (what, args) in [("curl h2", "--http2"), ("curl h1", "--http1.1")] {
        let four = stage.by_name(WWW, "/same.bin")?.args(&[args]).run()?;
        let six = stage.by_ipv6("/same.bin")?.args(&[args]).run()?;
        for fact in ["http_code", "http_version", "size_download", "num_connects", "exitcode"] {
            assert_eq!(four.facts[fact], six.facts[fact], "{what}: {fact}");
        }
        ensure!(std::fs::read(&four.body)? == std::fs::read(&six.body)?, "{what}");
    }
    for (what, script) in [("urllib", URLLIB), ("ssl", SSL)] {
        let [four, six] = both(|address| {
            let mut command = python(&stage, script)?;
            let output = process::run(command.args([address, WWW]))?;
            ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        })?;
        assert_eq!(four.replace(&CLIENT_NAT46.to_string(), &CLIENT6.to_string()), six, "{what}");
        assert!(six.contains("TLSv1.3"), "{what}: {six}");
    }
    let [four, six] = both(|address| s_client(&stage, address))?;
    assert_eq!(four, six);
    assert!(four.contains("Verification: OK"), "{four}");
    Ok(())
}

/// What a client does with its first octets makes no difference that anybody notices.
#[test]
fn hellos_that_need_an_acknowledgment_cost_no_noticeable_time() -> Result<()> {
    let stage = stage();
    let hello = Hello::for_name(WWW).bytes();
    let every: Vec<usize> = (1..hello.len()).collect();
    for (what, cuts, nagle, pause, most) in [
        ("at once", AT_ONCE, false, 0, 100),
        ("byte by byte", &every, false, 0, 200),
        ("byte by byte, held back by Nagle", &every, true, 0, 200),
        ("two writes, held back by Nagle", &[5], true, 0, 200),
        ("three writes, held back by Nagle", &[1, 100], true, 0, 200),
        ("two writes with a pause", &[100], false, 100, 300),
    ] {
        let mut times: Vec<Duration> = (0..5)
            .map(|_| greet(&stage, &hello, cuts, nagle, Duration::from_millis(pause)))
            .collect::<Result<_>>()
            .context(what)?;
        times.sort();
        println!("{what}: {times:?}");
        // A busy machine takes longer now and then.
        assert!(times[0] < Duration::from_millis(most), "{what}: {times:?}");
    }
    Ok(())
}

/// How long it takes from the first write to the ServerHello.
fn greet(
    stage: &Stage,
    hello: &[u8],
    cuts: &[usize],
    nagle: bool,
    pause: Duration,
) -> Result<Duration> {
    let mut stream = plain::client(&stage.lab, 443)?;
    stream.set_nodelay(!nagle)?;
    let start = Instant::now();
    let mut from = 0;
    for &cut in cuts.iter().chain([&hello.len()]) {
        stream.write_all(&hello[from..cut])?;
        from = cut;
        if !pause.is_zero() && cut < hello.len() {
            thread::sleep(pause);
        }
    }
    let mut answer = [0; 6];
    stream.read_exact(&mut answer)?;
    ensure!((answer[0], answer[5]) == (0x16, 2), "{answer:x?}");
    Ok(start.elapsed())
}

fn both(run: impl Fn(&str) -> Result<String>) -> Result<[String; 2]> {
    Ok([run(&VPS4.to_string())?, run(&WWW6.to_string())?])
}

fn s_client(stage: &Stage, address: &str) -> Result<String> {
    let target = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let mut command = stage.lab.client.command("openssl")?;
    command
        .args(["s_client", "-brief", "-servername", WWW, "-alpn", "h2,http/1.1"])
        .args(["-connect", &format!("{target}:443"), "-CAfile"])
        .arg(&stage.certificate.certificate);
    let output = process::run(&mut command)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(said.lines().filter(|line| !line.contains("DONE")).collect::<Vec<_>>().join("\n"))
}

fn python(stage: &Stage, script: &str) -> Result<std::process::Command> {
    let mut command = stage.lab.client.command("python3")?;
    command.args(["-c", script]).env("CA", &stage.certificate.certificate);
    Ok(command)
}

/// The ssl module by itself: HTTP/1.1 with `Connection: close`.
const SSL: &str = r#"
import os, re, socket, ssl, sys
address, name = sys.argv[1:]
context = ssl.create_default_context(cafile=os.environ["CA"])
with context.wrap_socket(socket.create_connection((address, 443), 10), server_hostname=name) as tls:
    tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    said = b""
    while piece := tls.recv(65536):
        said += piece
    print(tls.version(), tls.cipher(), re.sub(r"port \d+", "", said.split(b"\r\n\r\n", 1)[1].decode()))
"#;

/// The high road.
const URLLIB: &str = r#"
import hashlib, http.client, os, socket, ssl, sys
address, name = sys.argv[1:]
class Connection(http.client.HTTPSConnection):
    def connect(self):
        self.sock = self._context.wrap_socket(socket.create_connection((address, 443), 10), server_hostname=name)
connection = Connection(name, context=ssl.create_default_context(cafile=os.environ["CA"]))
for path in ["/same.bin", "/same.bin", "/none"]:
    connection.request("GET", path)
    answer = connection.getresponse()
    print(answer.status, answer.version, hashlib.sha256(answer.read()).hexdigest(), connection.sock.version())
"#;

/// As many as one likes, all in flight at once.
const FETCH_MANY: &str = r#"
import asyncio, os, ssl, sys, time
address, name, count = sys.argv[1:]
context = ssl.create_default_context(cafile=os.environ["CA"])
async def fetch():
    reader, writer = await asyncio.open_connection(address, 443, ssl=context, server_hostname=name)
    writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    said = await reader.read()
    writer.close()
    return said.startswith(b"HTTP/1.1 200")
async def main():
    start = time.monotonic()
    results = await asyncio.gather(*(fetch() for _ in range(int(count))), return_exceptions=True)
    for result in results:
        if result is not True:
            print(repr(result), file=sys.stderr)
    print(sum(result is True for result in results), "of", count, f"pages in {time.monotonic() - start:.2f} s")
asyncio.run(main())
"#;
