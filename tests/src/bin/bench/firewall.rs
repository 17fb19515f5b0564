//! Small packets with a firewall that remembers connections: the kernel's, by nftables, and ours.

use crate::contender::{Contender, ingress_config};
use crate::measures::{Extent, warm};
use crate::origin;
use crate::report::{Report, Row};
use crate::small::{SOMEBODY, roads};
use crate::wire::{Flood, Sink};
use anyhow::{Context, Result, ensure};
use ingress_tests::Lab;
use ingress_tests::addresses::{OFFICE6, WWW6};
use ingress_tests::bpf::generator::Varied;
use ingress_tests::golden::frame::{Ip6, UDP, udp6};
use ingress_tests::netns::Namespace;
use ingress_tests::sites::{OFFICE_INTERFACE, Sites};
use std::io::Write;
use std::process::Stdio;

/// As many peers as a busy server has, so that both firewalls remember all of them.
const PEERS: u16 = 0x3ff;
/// The end of the peer's address, and octets of payload against it.
const OUT: [Varied; 1] = [Varied { number: 14 + 38, bits: PEERS, complements: &[54 + 8] }];
const IN: [Varied; 1] = [Varied { number: 14 + 22, bits: PEERS, complements: &[54 + 8] }];
/// What both are told: outward everything, inward what belongs to it.
const RULES: &str = "table ip6 wall {\nchain through {\ntype filter hook forward priority filter\n\
                     policy drop\nct state established,related accept\n";

/// Datagrams of eight octets, out of a site and, as answers, into it.
pub fn firewall(lab: &Lab, sites: &Sites, extent: &Extent, report: &mut Report) -> Result<()> {
    let [uplink, tunnel] = roads(lab, sites);
    let outward = Ip6 { source: OFFICE6, destination: SOMEBODY, ..Ip6::default() };
    let inward = Ip6 { source: SOMEBODY, destination: OFFICE6, ..Ip6::default() };
    let payload = [0xff, 0xff, 0, 0, 0, 0, 0, 0];
    let packet = |ip: &Ip6, [from, to]: [u16; 2]| ip.around(UDP, &udp6(ip, from, to, &payload));
    let (out, answer) = (packet(&outward, [9, 7777]), packet(&inward, [7777, 9]));
    let policy = format!(
        "\n[policy]\nipv6 = \"closed\"\n[[allow]]\nto = [\"{OFFICE6}\", \"{WWW6}\"]\nports = [{}]\n",
        origin::PORT
    );
    for _ in 0..extent.rounds {
        for (contender, title) in [
            (Contender::Kernel, "kernel IPv6, nftables"),
            (Contender::IngressIpv6, "ingress IPv6, closed policy"),
        ] {
            let running = contender.start_with(lab, &(ingress_config(lab) + &policy))?;
            warm(lab, contender)?;
            if contender == Contender::Kernel {
                let rules = format!("{RULES}iifname {OFFICE_INTERFACE} accept\n}}\n}}\n");
                nft(&lab.vps, &rules)?;
            }
            let measured = (|| -> Result<()> {
                // Who is let in is who was spoken to.
                for (measure, packet, varied, way, sink) in [
                    ("small packets out, firewall", &out, &OUT, tunnel, Sink::Out(uplink[1])),
                    ("small packets in, firewall", &answer, &IN, uplink, Sink::Out(tunnel[1])),
                ] {
                    let flood = Flood::run(lab, way, (packet, varied), sink, extent.flood)?;
                    let (rate, lost) = flood.rates();
                    report.add(Row::new(measure, "packets/s of one core", title, rate));
                    report.add(Row::new(measure, "lost %", title, lost));
                }
                Ok(())
            })();
            if contender == Contender::Kernel {
                nft(&lab.vps, "delete table ip6 wall\n")?;
            }
            running.stop(lab)?;
            measured.with_context(|| title)?;
        }
    }
    Ok(())
}

/// Applies nftables rules.
pub fn nft(namespace: &Namespace, rules: &str) -> Result<()> {
    let mut command = namespace.command("nft")?;
    let mut nft = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("start `nft`")?;
    nft.stdin.take().context("its input")?.write_all(rules.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft did not take\n{rules}");
    Ok(())
}
