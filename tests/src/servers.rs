//! What the lab serves: names, web pages over TLS 1.3 and HTTP/2, a database.

use crate::addresses::{ALIAS, DB, DB6, DNS4, NOBODY, ONLY_IPV4, OUTSIDE, VPS4, WWW, WWW6};
use crate::netns::Namespace;
use crate::process::{self, Process, wait_until};
use crate::topology::Lab;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A self-signed certificate for every name of the lab.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, which clients trust.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificate {
    /// Makes one.
    pub fn generate(dir: &Path) -> Result<Self> {
        let (certificate, key) = (dir.join("lab.crt"), dir.join("lab.key"));
        let mut openssl = Command::new("openssl");
        openssl
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "30", "-subj", "/CN=example.test"])
            .args(["-addext", "subjectAltName=DNS:example.test,DNS:*.example.test", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        process::output(&mut openssl)?;
        Ok(Self { certificate, key })
    }
}

/// dnsmasq, on the provider's router.
#[derive(Debug)]
pub struct Dns {
    _process: Process,
}

impl Dns {
    /// Starts it with the lab's names; all others do not exist.
    pub fn start(lab: &Lab) -> Result<Self> {
        let mut command = lab.inet.command("dnsmasq")?;
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"])
            .args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--local=/test/"])
            .args(["--log-queries", "--log-facility=-", "--local-ttl=5"])
            .arg(format!("--listen-address={DNS4}"))
            .arg(format!("--host-record={WWW},{VPS4},{WWW6}"))
            .arg(format!("--host-record={DB},{VPS4},{DB6}"))
            .arg(format!("--host-record={OUTSIDE},2001:db8:ffff::1"))
            .arg(format!("--host-record={ONLY_IPV4},198.51.100.99"))
            .arg(format!("--host-record={NOBODY},2001:db8:1:0:1::dead"))
            .arg(format!("--cname={ALIAS},{WWW}"));
        let process = Process::spawn(&mut command, &lab.dir().join("dnsmasq.log"))?;
        wait_until(Duration::from_secs(5), "dnsmasq answers", || {
            lab.inet.enter(|| asks(SocketAddr::new(DNS4.into(), 53))).is_ok_and(|answered| answered)
        })
        .with_context(|| process.log_tail())?;
        Ok(Self { _process: process })
    }
}

/// Whether anything answers DNS there.
fn asks(server: SocketAddr) -> bool {
    const QUERY_FOR_ROOT: &[u8] = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\0\0\x02\0\x01";
    let ask = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        socket.connect(server)?;
        socket.send(QUERY_FOR_ROOT)?;
        socket.recv(&mut [0; 512])
    };
    ask().is_ok()
}

/// nginx on the web server: TLS 1.3 only, HTTP/2, ports 443, 8443 and (in clear) 80.
///
/// `/` tells the client who it is, other paths are files that can be fetched and PUT, and below
/// `/slow/` the same files come at 100 kB/s.
#[derive(Debug)]
pub struct Web {
    root: PathBuf,
    access_log: PathBuf,
    process: Process,
}

impl Web {
    /// Starts the one at home.
    pub fn start(lab: &Lab, certificate: &Certificate) -> Result<Self> {
        Self::start_on(lab, &lab.www, WWW6, "nginx", certificate)
    }

    /// Starts one elsewhere, with a directory of its own.
    pub fn start_on(
        lab: &Lab,
        machine: &Namespace,
        address: Ipv6Addr,
        name: &str,
        certificate: &Certificate,
    ) -> Result<Self> {
        let dir = lab.dir().join(name);
        let root = dir.join("files");
        fs::create_dir_all(&root)?;
        fs::create_dir_all(dir.join("temporary"))?;
        let config = dir.join("nginx.conf");
        fs::write(&config, nginx_config(&dir, certificate))?;
        let mut command = machine.command("nginx")?;
        command.arg("-p").arg(&dir).arg("-c").arg(&config).args(["-g", "daemon off;", "-e"]);
        command.arg(dir.join("error.log"));
        let process = Process::spawn(&mut command, &lab.dir().join(format!("{name}.log")))?;
        wait_for_listener(machine, address, 443).with_context(|| process.log_tail())?;
        Ok(Self { root, access_log: dir.join("access.log"), process })
    }

    /// Ends it, its workers included.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(5))?;
        Ok(())
    }

    /// Where its files are.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every request so far: `client`, `port`, `sni`, `http`, `tls`, `uri`, `status`.
    pub fn requests(&self) -> Result<Vec<Value>> {
        let log = fs::read_to_string(&self.access_log)?;
        log.lines().map(|line| serde_json::from_str(line).context("nginx's access log")).collect()
    }

    /// The request for `uri`, once it is logged.
    pub fn request(&self, uri: &str) -> Result<Value> {
        let mut found = None;
        wait_until(Duration::from_secs(3), &format!("nginx logs {uri}"), || {
            found = self
                .requests()
                .unwrap_or_default()
                .into_iter()
                .rev()
                .find(|request| request["uri"] == uri);
            found.is_some()
        })?;
        found.context("just seen")
    }
}

fn nginx_config(dir: &Path, Certificate { certificate, key }: &Certificate) -> String {
    let (dir, certificate, key) = (dir.display(), certificate.display(), key.display());
    format!(
        r#"user root;
worker_processes 2;
pid {dir}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    log_format lab escape=json '{{"client":"$remote_addr","port":$remote_port,"at":$server_port,"sni":"$ssl_server_name",'
        '"http":"$server_protocol","tls":"$ssl_protocol","uri":"$request_uri","status":$status}}';
    access_log {dir}/access.log lab;
    client_body_temp_path {dir}/temporary/body;
    proxy_temp_path {dir}/temporary/proxy;
    fastcgi_temp_path {dir}/temporary/fastcgi;
    uwsgi_temp_path {dir}/temporary/uwsgi;
    scgi_temp_path {dir}/temporary/scgi;
    client_max_body_size 0;
    default_type application/octet-stream;
    types {{ text/html html; }}
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    server {{
        listen [::]:80 backlog=4096;
        listen [::]:443 ssl http2 backlog=4096;
        listen [::]:8443 ssl http2;
        location = / {{
            default_type text/plain;
            return 200 "you are $remote_addr port $remote_port, by $ssl_protocol $server_protocol\n";
        }}
        location / {{
            root {dir}/files;
            dav_methods PUT;
        }}
        location /slow/ {{
            alias {dir}/files/;
            limit_rate 100k;
        }}
    }}
}}
"#
    )
}

/// PostgreSQL on the database server, TLS only; user `postgres`, no password.
#[derive(Debug)]
pub struct Postgres {
    log: PathBuf,
    _process: Process,
}

impl Postgres {
    /// Makes a database cluster and starts it; takes some seconds.
    pub fn start(lab: &Lab, Certificate { certificate, key }: &Certificate) -> Result<Self> {
        let programs = newest_postgres()?;
        // It refuses to run as root.
        let dir = lab.dir().join("postgres");
        fs::create_dir_all(&dir)?;
        let (user, group) = (id("-u")?, id("-g")?);
        for (file, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let copy = dir.join(name);
            fs::copy(file, &copy)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600))?;
            chown(&copy, Some(user), Some(group))?;
        }
        chown(&dir, Some(user), Some(group))?;
        let data = dir.join("data");
        let mut initdb = as_postgres(Command::new("setpriv"));
        initdb.arg(programs.join("initdb")).arg("-D").arg(&data).current_dir(&dir).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        ]);
        process::output(&mut initdb)?;
        fs::write(data.join("pg_hba.conf"), "hostssl all all ::/0 trust\nlocal all all trust\n")?;
        let log = lab.dir().join("postgres.log");
        let mut server = as_postgres(lab.db.command("setpriv")?);
        server.arg(programs.join("postgres")).arg("-D").arg(&data).current_dir(&dir);
        for setting in [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", dir.join("server.crt").display()),
            format!("ssl_key_file={}", dir.join("server.key").display()),
            format!("listen_addresses={DB6}"),
            format!("unix_socket_directories={}", dir.display()),
            "fsync=off".to_owned(),
            "shared_buffers=16MB".to_owned(),
            "log_connections=on".to_owned(),
        ] {
            server.arg("-c").arg(setting);
        }
        let process = Process::spawn(&mut server, &log)?;
        wait_for_listener(&lab.db, DB6, 5432).with_context(|| process.log_tail())?;
        Ok(Self { log, _process: process })
    }

    /// What it logs, connections among it.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }
}

fn as_postgres(mut setpriv: Command) -> Command {
    setpriv.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    setpriv
}

fn id(which: &str) -> Result<u32> {
    Ok(process::output(Command::new("id").args([which, "postgres"]))?.trim().parse()?)
}

fn newest_postgres() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed")?;
    versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|programs| programs.join("initdb").is_file())
        .max()
        .context("no `initdb` below /usr/lib/postgresql")
}

/// Waits until something accepts connections there.
pub fn wait_for_listener(namespace: &Namespace, address: Ipv6Addr, port: u16) -> Result<()> {
    let target = SocketAddr::new(IpAddr::V6(address), port);
    wait_until(Duration::from_secs(10), &format!("a server at {target}"), || {
        namespace
            .enter(|| TcpStream::connect_timeout(&target, Duration::from_millis(200)).is_ok())
            .is_ok_and(|connected| connected)
    })
}
