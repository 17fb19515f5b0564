//! Who is measured, each with the configuration that its own documentation suggests.

use crate::origin;
use anyhow::{Context, Result, bail, ensure};
use ingress_tests::addresses::{NAT46_PREFIX, OFFICE, OFFICE6, VPS4, WWW, WWW6};
use ingress_tests::daemon::{self, Daemon};
use ingress_tests::process::{Process, wait_until};
use ingress_tests::{Lab, sites};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// <https://github.com/AGWA/snid>.
pub const SNID: &str = "snid";

/// A way of getting a client to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Contender {
    /// IPv6 forwarded by the kernel, nothing else: what everybody is compared with.
    Kernel,
    /// IPv6 forwarded by the programs.
    IngressIpv6,
    /// IPv4 by name, by this project.
    Ingress,
    /// IPv4 by name, `ssl_preread` and a transparent `proxy_bind`.
    Nginx,
    /// IPv4 by name, `req.ssl_sni`; the server does not see the client's address.
    Haproxy,
    /// IPv4 by name, NAT46, names from a hosts file; only where there is such a program.
    Snid,
}

/// The tunnel that is on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// Unencrypted.
    Veth,
    /// WireGuard in userspace.
    WireGuard,
}

impl Way {
    /// As the report calls it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::WireGuard => "WireGuard",
        }
    }

    const fn server(self) -> (&'static str, Ipv6Addr) {
        match self {
            Self::Veth => (OFFICE, OFFICE6),
            Self::WireGuard => (WWW, WWW6),
        }
    }
}

/// A contender at work on the VPS, until dropped.
pub struct Running {
    work: Work,
}

enum Work {
    Kernel,
    Ingress(Box<Daemon>),
    Proxy(Process),
}

impl Contender {
    /// Everybody who is there; first, what the others are compared with.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Kernel, Self::IngressIpv6];
        all.extend(Self::by_name().split_off(1));
        all
    }

    /// Those that take IPv4 clients to IPv6 servers, and what they are compared with.
    pub fn by_name() -> Vec<Self> {
        let mut all = vec![Self::Kernel, Self::Ingress, Self::Nginx, Self::Haproxy];
        // No distribution packages it: whoever wants it in the comparison puts it into the PATH.
        let is_there = |program| Command::new(program).arg("-h").output().is_ok();
        all.extend(is_there(SNID).then_some(Self::Snid));
        all
    }

    /// As the report calls it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Kernel => "kernel IPv6",
            Self::IngressIpv6 => "ingress IPv6",
            Self::Ingress => "ingress by name",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Snid => "snid",
        }
    }

    /// Whom the client connects, and the name that it asks for.
    pub fn target(self, way: Way) -> (SocketAddr, &'static str) {
        let (name, server) = way.server();
        match self {
            Self::Kernel | Self::IngressIpv6 => ((server, origin::PORT).into(), name),
            Self::Ingress | Self::Nginx | Self::Haproxy | Self::Snid => {
                ((VPS4, origin::PORT).into(), name)
            }
        }
    }

    /// Starts it and waits until it serves.
    pub fn start(self, lab: &Lab) -> Result<Running> {
        self.start_with(lab, &ingress_config(lab))
    }

    /// The same, with another configuration of the daemon where there is one.
    pub fn start_with(self, lab: &Lab, config: &str) -> Result<Running> {
        let work = match self {
            Self::Kernel => Work::Kernel,
            Self::IngressIpv6 | Self::Ingress => {
                Work::Ingress(Box::new(Daemon::start_with(lab, config)?))
            }
            Self::Nginx => Work::Proxy(proxy(lab, "nginx", nginx_config(lab), |file| {
                vec!["-c".into(), file, "-g".into(), "daemon off;".into()]
            })?),
            Self::Haproxy => Work::Proxy(proxy(lab, "haproxy", haproxy_config(), |file| {
                vec!["-db".into(), "-f".into(), file]
            })?),
            // It has no file of its own, and looks names up where its machine does.
            Self::Snid => Work::Proxy(proxy(lab, "unshare", hosts(), |file| {
                let script = format!("mount --bind {file} /etc/hosts && exec {SNID} \"$@\"");
                let mut args = ["--mount", "sh", "-c"].map(str::to_owned).to_vec();
                args.extend([script, SNID.to_owned()]);
                args.extend(snid_arguments());
                args
            })?),
        };
        Ok(Running { work })
    }
}

impl Running {
    /// The daemon's process.
    pub fn pid(&self) -> Option<Pid> {
        match &self.work {
            Work::Kernel => None,
            Work::Ingress(daemon) => daemon.pid().ok(),
            Work::Proxy(process) => Some(process.pid()),
        }
    }

    /// Its processes' resident memory in octets.
    pub fn resident(&self) -> Result<u64> {
        match &self.work {
            Work::Kernel => Ok(0),
            Work::Ingress(daemon) => crate::machine::resident(daemon.pid()?),
            Work::Proxy(process) => crate::machine::resident(process.pid()),
        }
    }

    /// Ends it, and takes everything off the VPS again.
    pub fn stop(self, lab: &Lab) -> Result<()> {
        match self.work {
            Work::Kernel => Ok(()),
            Work::Ingress(mut daemon) => {
                daemon.stop()?;
                let detached = daemon::once(lab, &ingress_config(lab), &[], &["detach"])?;
                if !detached.status.success() {
                    bail!("ingressd detach: {}", String::from_utf8_lossy(&detached.stderr));
                }
                Ok(())
            }
            Work::Proxy(mut process) => {
                // Killed, nginx would leave its workers, which go on listening.
                process.signal(Signal::SIGTERM);
                process.wait(Duration::from_secs(10))?;
                wait_until(Duration::from_secs(5), "the proxy's port is free", || {
                    nobody_listens(lab).unwrap_or(false)
                })?;
                lab.vps.ip(&format!("route del local {NAT46_PREFIX} dev lo\n"))
            }
        }
    }
}

/// The daemon's configuration, with a listed port and a host for every way.
pub fn ingress_config(lab: &Lab) -> String {
    let listed = format!("ports = [{}]", origin::PORT);
    sites::config(lab)
        .replace("ports = [443, 8443]", &listed)
        .replace("[hosts]", &format!("[hosts]\n\"{WWW}\" = \"{WWW6}\""))
        .replace("[daemon]", "[daemon]\nflows = 2000000")
}

fn proxy(
    lab: &Lab,
    program: &str,
    config: String,
    args: impl FnOnce(String) -> Vec<String>,
) -> Result<Process> {
    let file: PathBuf = lab.dir().join(format!("{program}.rival"));
    fs::write(&file, config)?;
    // Answers to the clients' NAT46 addresses are for the proxy's transparent sockets.
    lab.vps.ip(&format!("route add local {NAT46_PREFIX} dev lo\n"))?;
    ensure!(nobody_listens(lab)?, "somebody else listens where {program} is to");
    let mut command = lab.vps.command(program)?;
    command.args(args(file.display().to_string()));
    let process = Process::spawn(&mut command, &lab.dir().join(format!("{program}.rival.log")))?;
    wait_until(Duration::from_secs(5), &format!("{program} listens"), || {
        nobody_listens(lab).is_ok_and(|nobody| !nobody)
    })
    .with_context(|| process.log_tail())?;
    Ok(process)
}

fn nobody_listens(lab: &Lab) -> Result<bool> {
    let address = SocketAddr::from((VPS4, origin::PORT));
    lab.vps.enter(|| TcpStream::connect(address).is_err())
}

fn hosts() -> String {
    [Way::Veth, Way::WireGuard].map(Way::server).map(|(name, at)| format!("{at} {name}\n")).concat()
}

fn snid_arguments() -> Vec<String> {
    let mut arguments = vec![
        "-listen".to_owned(),
        format!("tcp:{VPS4}:{}", origin::PORT),
        "-mode".to_owned(),
        "nat46".to_owned(),
        "-nat46-prefix".to_owned(),
        NAT46_PREFIX.trim_end_matches("/96").to_owned(),
    ];
    for way in [Way::Veth, Way::WireGuard] {
        let (_, server) = way.server();
        arguments.extend(["-backend-cidr".to_owned(), format!("{server}/128")]);
    }
    arguments
}

fn nginx_config(lab: &Lab) -> String {
    let mut names = String::new();
    for way in [Way::Veth, Way::WireGuard] {
        let (name, server) = way.server();
        let _ = writeln!(names, "{name} [{server}]:{};", origin::PORT);
    }
    let dir = lab.dir().display();
    let prefix = NAT46_PREFIX.trim_end_matches("/96");
    let port = origin::PORT;
    // Without root its workers could not bind the clients' addresses.
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         user root;\nworker_processes auto;\nworker_rlimit_nofile 500000;\n\
         pid {dir}/nginx.rival.pid;\nerror_log {dir}/nginx.rival.log;\n\
         events {{ worker_connections 250000; }}\n\
         stream {{\n  map $ssl_preread_server_name $to {{\n{names}  }}\n\
         server {{ listen {VPS4}:{port} backlog=65535; ssl_preread on; proxy_pass $to;\n\
         proxy_bind {prefix}$remote_addr transparent; }}\n}}\n"
    )
}

fn haproxy_config() -> String {
    let port = origin::PORT;
    let mut rules = String::new();
    let mut backends = String::new();
    for (nth, way) in [Way::Veth, Way::WireGuard].into_iter().enumerate() {
        let (name, server) = way.server();
        let _ = writeln!(rules, "  use_backend b{nth} if {{ req.ssl_sni -i {name} }}");
        let _ = writeln!(backends, "backend b{nth}\n  server s [{server}]:{port}");
    }
    // It finds out itself how many connections the limit of open files leaves it.
    format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  \
         timeout server 1h\nfrontend f\n  bind {VPS4}:{port} backlog 65535\n  \
         tcp-request inspect-delay 5s\n  tcp-request content accept if {{ req.ssl_hello_type 1 }}\n\
         {rules}{backends}"
    )
}
