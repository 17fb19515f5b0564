//! Small packets over the IPv6 path, where the cost of each counts and not that of its octets.

use crate::contender::Contender;
use crate::measures::{Extent, rounds};
use crate::report::{Report, Row};
use crate::wire::{End, Flood};
use anyhow::Result;
use ingress_tests::Lab;
use ingress_tests::addresses::OFFICE6;
use ingress_tests::bpf::generator::{Gate, Gatekeeper, Varied};
use ingress_tests::golden::frame::{Ip6, UDP, udp6};
use ingress_tests::sites::{OFFICE_INTERFACE, Sites};
use nix::net::if_::if_nametoindex;
use std::net::Ipv6Addr;

/// In what goes in: the end of the source address, the source port, and octets of payload against them.
const IN: [Varied; 2] = [
    Varied { number: 14 + 22, bits: 0xffff, complements: &[54 + 8] },
    Varied { number: 54, bits: 0xffff, complements: &[54 + 10] },
];
/// In what goes out it is the end of the destination.
const OUT: [Varied; 2] = [Varied { number: 14 + 38, bits: 0xffff, complements: &[54 + 8] }, IN[1]];
/// Somebody in the world, before the number is written into the last two octets.
pub const SOMEBODY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 1, 0);

/// Who does nothing with them: the packets end where the forwarding begins. Nobody who forwards can do better.
const NOBODY: &str = "end at the VPS, not forwarded";
/// Who does only what every program at tc does that forwards. No such program can do better.
const CHUTE: &str = "redirected, not even read";

/// The veths to the world and to the office: their ends there, and at the VPS.
pub fn roads<'a>(lab: &'a Lab, sites: &'a Sites) -> [[End<'a>; 2]; 2] {
    let end = |namespace, interface| End { namespace, interface };
    [
        [end(&lab.inet, "vps"), end(&lab.vps, "eth0")],
        [end(&sites.router, "vps"), end(&lab.vps, OFFICE_INTERFACE)],
    ]
}

/// Datagrams with eight octets, into the site and out of it: all from one processor, which forwards them too.
/// Each is of another client, as in the world: who remembers the last packet's route has little of it.
pub fn small(lab: &Lab, sites: &Sites, extent: &Extent, report: &mut Report) -> Result<()> {
    let [uplink, tunnel] = roads(lab, sites);
    let inward = Ip6 { source: SOMEBODY, destination: OFFICE6, ..Ip6::default() };
    let outward = Ip6 { source: OFFICE6, destination: SOMEBODY, ..Ip6::default() };
    let contenders = [Contender::Kernel, Contender::IngressIpv6];
    // Seconds that it takes to make a packet and bring it to the VPS, in this round.
    let mut before = [0.0; 2];
    rounds(lab, &contenders, extent, |contender, _| {
        for (nth, (measure, ip, varied, way, [out, to])) in [
            ("small packets in, IPv6", &inward, &IN, uplink, tunnel),
            ("small packets out, IPv6", &outward, &OUT, tunnel, uplink),
        ]
        .into_iter()
        .enumerate()
        {
            // The complements of what varies, so that the sum is right.
            let packet = ip.around(UDP, &udp6(ip, 0, 9, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
            let run = |sink| Flood::run(lab, way, (&packet, varied), sink, extent.flood);
            let nobody = match contender {
                Contender::Kernel => Some(run(way[1])?.rates().0),
                Contender::IngressIpv6
                | Contender::Ingress
                | Contender::Nginx
                | Contender::Haproxy
                | Contender::Snid => None,
            };
            let (rate, lost) = run(out)?.rates();
            report.add(Row::new(measure, "packets/s of one core", contender.title(), rate));
            if let Some(nobody) = nobody {
                before[nth] = 1.0 / nobody;
                report.add(Row::new(measure, "packets/s of one core", NOBODY, nobody));
                let [_, End { namespace, interface }] = way;
                let index = namespace.enter(|| if_nametoindex(to.interface))??;
                let _chute = Gatekeeper::post(namespace, interface, Gate::Chute(index))?;
                let (rate, _) = run(out)?.rates();
                report.add(Row::new(measure, "packets/s of one core", CHUTE, rate));
            }
            report.add(Row::new(measure, "lost %", contender.title(), lost));
            let forwarding = (1.0 / rate - before[nth]) * 1e9;
            report.add(Row::new(measure, "ns to forward one", contender.title(), forwarding));
        }
        Ok(())
    })
}
