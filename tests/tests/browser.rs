//! A browser and a script: over IPv4 by name they get what they get over IPv6, and the status page is as a person
//! sees it.

use anyhow::{Context, Result, ensure};
use ingress_tests::addresses::{CLIENT_NAT46, UNKNOWN, VPS4, WWW, WWW6};
use ingress_tests::client::random_file;
use ingress_tests::daemon::METRICS;
use ingress_tests::netns::Namespace;
use ingress_tests::process::{self, output};
use ingress_tests::shared::{Stage, stage};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Loads pictures' worth of other files, several at a time, and says how it went.
const DOCUMENT: &str = r#"<!doctype html><title>of a browser</title><p id="result">not yet</p><script>
const load = async (n) => (await (await fetch(`browser.bin?${n}`)).arrayBuffer()).byteLength;
Promise.all([...Array(24).keys()].map(load)).then(
  sizes => result.textContent = `${sizes.length} files, ${sizes.reduce((a, b) => a + b)} octets`,
  error => result.textContent = `failed: ${error}`);
</script>"#;

/// What a TLS connection is like, and what comes of a request: one line of JSON.
const SCRIPT: &str = r#"
import hashlib, json, socket, ssl, sys
address, name, authority = sys.argv[1:]
tls = ssl.create_default_context(cafile=authority)
tls.set_alpn_protocols(["http/1.1"])
plain = socket.create_connection((address, 443), timeout=20)
with tls.wrap_socket(plain, server_hostname=name) as server:
    port = server.getsockname()[1]
    digest, bodies = hashlib.sha256(), 0
    reader = server.makefile("rb")
    for last in (False, False, True):
        server.sendall(f"GET /browser.bin?{port} HTTP/1.1\r\nHost: {name}\r\n".encode())
        server.sendall(b"Connection: close\r\n\r\n" if last else b"\r\n")
        status, length = reader.readline().split()[1], None
        while (line := reader.readline()) not in (b"\r\n", b""):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = reader.read(length)
        digest.update(body)
        bodies += len(body)
    rest = reader.read()
    print(json.dumps({"port": port, "version": server.version(), "cipher": server.cipher(),
        "alpn": server.selected_alpn_protocol(), "peer": server.getpeercert(), "status": int(status),
        "octets": bodies, "digest": digest.hexdigest(), "rest": len(rest)}))
"#;

#[test]
fn a_browser_gets_the_same_over_both_families() -> Result<()> {
    let stage = stage();
    random_file(&stage.web.root().join("browser.bin"), 1)?;
    fs::write(stage.web.root().join("browser.html"), DOCUMENT)?;
    let load = |address: &str, what: &str| -> Result<String> {
        let mut chromium = chromium(&stage.lab.client, &stage)?;
        chromium
            .arg(format!("--host-resolver-rules=MAP {WWW} {address}"))
            .arg(format!("--ignore-certificate-errors-spki-list={}", key_digest(&stage)?))
            .args(["--virtual-time-budget=20000", "--dump-dom"])
            .arg(format!("https://{WWW}/browser.html?{what}"));
        output(&mut chromium)
    };
    let by_name = load(&VPS4.to_string(), "by-name")?;
    let direct = load(&format!("[{WWW6}]"), "direct")?;
    assert!(by_name.contains("24 files, 25165824 octets"), "{by_name}");
    assert_eq!(by_name, direct);
    let request = stage.web.request("/browser.html?by-name")?;
    assert_eq!(request["client"], CLIENT_NAT46.to_string(), "{request}");
    assert_eq!(request["http"], "HTTP/2.0", "{request}");
    assert_eq!(stage.web.request("/browser.html?direct")?["http"], "HTTP/2.0");
    Ok(())
}

#[test]
fn a_script_gets_the_same_over_both_families() -> Result<()> {
    let stage = stage();
    random_file(&stage.web.root().join("browser.bin"), 1)?;
    let run = |address: &str| -> Result<Value> {
        let mut python = stage.lab.client.command("python3")?;
        python.args(["-c", SCRIPT, address, WWW]).arg(&stage.certificate.certificate);
        Ok(serde_json::from_str(&output(&mut python)?)?)
    };
    let (mut by_name, mut direct) = (run(&VPS4.to_string())?, run(&WWW6.to_string())?);
    for (facts, client) in [(&mut by_name, CLIENT_NAT46.to_string()), (&mut direct, String::new())]
    {
        let port = facts.as_object_mut().and_then(|facts| facts.remove("port")).context("port")?;
        let seen = stage.web.request(&format!("/browser.bin?{port}"))?;
        assert_eq!(seen["port"], port, "not the client's own port");
        ensure!(client.is_empty() || seen["client"] == client, "{seen}");
    }
    assert_eq!(by_name["octets"], 3 << 20, "{by_name}");
    assert_eq!(by_name, direct);
    Ok(())
}

#[test]
fn the_status_page_is_light_or_dark_and_whole() -> Result<()> {
    let stage = stage();
    assert_eq!(stage.by_name(WWW, "/?seen")?.run()?.status(), 200);
    assert_ne!(stage.by_name(UNKNOWN, "/?seen")?.run()?.exit_code(), 0);
    let url = format!("http://{METRICS}/");
    let mut browser = chromium(&stage.lab.vps, &stage)?;
    let document = output(browser.args(["--dump-dom", &url]))?;
    for needed in [WWW, UNKNOWN, "unknown name", "home", "<svg"] {
        assert!(document.contains(needed), "{needed} in\n{document}");
    }
    for (scheme, is_right) in
        [("1", (|grey| grey > 200) as fn(u32) -> bool), ("0", |grey| grey < 60)]
    {
        let picture = stage.lab.dir().join(format!("page-{scheme}.png"));
        let mut browser = chromium(&stage.lab.vps, &stage)?;
        browser
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("--screenshot={}", picture.display()))
            .args(["--window-size=1000,900", &url]);
        output(&mut browser)?;
        let (grey, colours) = look(&picture)?;
        assert!(is_right(grey), "the background is {grey} with scheme {scheme}");
        assert!(colours > 20, "an empty page: {colours} colours");
    }
    Ok(())
}

/// A browser on one of the lab's machines, which tries to reach nobody else.
fn chromium(machine: &Namespace, stage: &Stage) -> Result<Command> {
    let profile = profile(stage)?;
    let mut chromium = machine.command("chromium")?;
    chromium
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg("--disable-dev-shm-usage")
        .arg(format!("--user-data-dir={}", profile.display()))
        .env("HOME", &profile);
    Ok(chromium)
}

/// A directory for one browser's own files.
fn profile(stage: &Stage) -> Result<PathBuf> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = stage.lab.dir().join(format!("browser-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// The digest by which the browser is told to trust the lab's certificate and no other.
fn key_digest(stage: &Stage) -> Result<String> {
    let mut openssl = Command::new("sh");
    openssl.args(["-euc", "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64"]);
    Ok(process::output(openssl.arg(&stage.certificate.certificate))?.trim().to_owned())
}

/// The brightness of a picture's upper left corner, and how many colours it has.
fn look(picture: &Path) -> Result<(u32, usize)> {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(File::open(picture)?));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("too large")?];
    let frame = reader.next_frame(&mut pixels)?;
    let size = frame.color_type.samples();
    let pixels: Vec<&[u8]> = pixels[..frame.buffer_size()].chunks_exact(size).collect();
    let corner = pixels.first().context("an empty picture")?;
    let grey = corner[..3].iter().map(|&part| u32::from(part)).sum::<u32>() / 3;
    let mut colours = pixels.clone();
    colours.sort_unstable();
    colours.dedup();
    Ok((grey, colours.len()))
}
