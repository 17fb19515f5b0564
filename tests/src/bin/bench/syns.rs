//! SYNs that nobody means: who answers how many with one processor.

use crate::contender::ingress_config;
use crate::firewall::nft;
use crate::measures::Extent;
use crate::origin;
use crate::report::{Report, Row};
use crate::wire::{End, Flood, Sink};
use anyhow::{Context, Result, bail};
use ingress_tests::Lab;
use ingress_tests::addresses::VPS4;
use ingress_tests::bpf::gate::{Gate, Gatekeeper};
use ingress_tests::bpf::generator::Varied;
use ingress_tests::daemon::{self, Daemon};
use ingress_tests::golden::frame::{Ip4, Tcp, flag};
use ingress_tests::process;
use std::net::{Ipv4Addr, TcpListener};

/// Behind Ethernet's header (14) and IPv4's (20): half of the source address, against it the packet's
/// identification and half of the sequence number; the source port, against it the other half.
const VARIED: [Varied; 2] = [
    Varied { number: 14 + 14, bits: 0xffff, complements: &[14 + 4, 34 + 6] },
    Varied { number: 34, bits: 0xffff, complements: &[34 + 4] },
];
/// What Linux sends.
const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answerer {
    /// A listening socket, `net.ipv4.tcp_syncookies=2`.
    Cookies,
    /// nftables' `synproxy`.
    Synproxy,
    /// The uplink program.
    Tc,
    /// The shield in the kernel's own XDP.
    Generic,
    /// The shield in the driver's.
    Native,
    /// Nobody: the driver drops them. What the tool itself can do.
    Wall,
}

impl Answerer {
    const ALL: [Self; 6] =
        [Self::Cookies, Self::Synproxy, Self::Tc, Self::Generic, Self::Native, Self::Wall];

    const fn title(self) -> &'static str {
        match self {
            Self::Cookies => "kernel's own cookies",
            Self::Synproxy => "nft synproxy",
            Self::Tc => "ingress at tc",
            Self::Generic => "ingress, XDP generic",
            Self::Native => "ingress, XDP native",
            Self::Wall => "dropped by XDP, unanswered",
        }
    }

    /// Runs something while it answers.
    fn during<T>(self, lab: &Lab, run: impl FnOnce() -> Result<T>) -> Result<T> {
        match self {
            Self::Cookies => {
                lab.vps.sysctl("ipv4/tcp_syncookies", "2")?;
                let _listener = listen(lab)?;
                let done = run();
                lab.vps.sysctl("ipv4/tcp_syncookies", "1")?;
                done
            }
            Self::Synproxy => {
                let _listener = listen(lab)?;
                nft(&lab.vps, &synproxy())?;
                let done = run();
                nft(&lab.vps, "delete table ip syns\n")?;
                done
            }
            Self::Tc => behind(lab, "off", run),
            Self::Generic => behind(lab, "generic", run),
            Self::Native => {
                let _peer = Gatekeeper::post(&lab.inet, "vps", Gate::Door)?;
                behind(lab, "native", run)
            }
            Self::Wall => {
                let _wall = Gatekeeper::post(&lab.vps, "eth0", Gate::Wall)?;
                run()
            }
        }
    }
}

/// SYNs from everywhere, each another tuple; answers are counted where they leave for the world.
pub fn syns(lab: &Lab, extent: &Extent, report: &mut Report) -> Result<()> {
    const MEASURE: &str = "SYNs answered";
    let world = End { namespace: &lab.inet, interface: "vps" };
    let vps = End { namespace: &lab.vps, interface: "eth0" };
    // The second words of what varies, so that the sums are right.
    let ip =
        Ip4 { source: Ipv4Addr::new(10, 1, 0, 0), destination: VPS4, id: 0xffff, ..Ip4::default() };
    let syn = Tcp {
        destination: origin::PORT,
        seq: 0xffff_ffff,
        flags: flag::SYN,
        window: 64_240,
        options: OPTIONS.to_vec(),
        ..Tcp::default()
    };
    let packet = syn.over4(&ip);
    // Who answers by the kernel's own routing needs to know the router.
    let mut ping = lab.vps.command("ping")?;
    process::output(ping.args(["-c1", "-W1", "-q", "198.51.100.1"]))?;
    for _ in 0..extent.rounds {
        for answerer in Answerer::ALL {
            let flood = answerer.during(lab, || {
                Flood::run(lab, [world, vps], (&packet, &VARIED), Sink::In(world), extent.flood)
            })?;
            let (answers, unanswered) = flood.rates();
            if answerer == Answerer::Wall {
                let sent = flood.sent / flood.seconds;
                report.add(Row::new(MEASURE, "SYNs/s of one core", answerer.title(), sent));
                continue;
            }
            report.add(Row::new(MEASURE, "SYNs/s of one core", answerer.title(), answers));
            report.add(Row::new(MEASURE, "unanswered %", answerer.title(), unanswered));
        }
    }
    Ok(())
}

fn listen(lab: &Lab) -> Result<TcpListener> {
    lab.vps
        .enter(|| TcpListener::bind((VPS4, origin::PORT)))?
        .with_context(|| format!("listen on {VPS4}:{}", origin::PORT))
}

fn synproxy() -> String {
    let port = origin::PORT;
    format!(
        "table ip syns {{\nchain before {{\ntype filter hook prerouting priority raw\n\
         tcp dport {port} tcp flags syn notrack\n}}\n\
         chain input {{\ntype filter hook input priority filter\n\
         tcp dport {port} ct state invalid,untracked synproxy mss 1360 wscale 7 timestamp sack-perm\n\
         ct state invalid drop\n}}\n}}\n"
    )
}

fn behind<T>(lab: &Lab, xdp: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let wanted = format!("interface = \"eth0\"\nxdp = \"{xdp}\"");
    let config = ingress_config(lab).replacen("interface = \"eth0\"", &wanted, 1);
    let mut daemon = Daemon::start_with(lab, &config)?;
    let is = daemon.ctl_json(&["status"])?["shield"].clone();
    let done = if is == xdp { run() } else { bail!("the shield is {is} and not {xdp}") };
    daemon.stop()?;
    let detached = daemon::once(lab, &config, &[], &["detach"])?;
    if !detached.status.success() {
        bail!("ingressd detach: {}", String::from_utf8_lossy(&detached.stderr));
    }
    done
}
