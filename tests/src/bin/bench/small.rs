//! Small packets over the IPv6 path, where the cost of each counts and not that of its octets.

use crate::contender::Contender;
use crate::measures::{Extent, rounds};
use crate::report::{Report, Row};
use crate::wire::{End, Flood, Sink};
use anyhow::Result;
use ingress_tests::Lab;
use ingress_tests::addresses::OFFICE6;
use ingress_tests::bpf::gate::{Gate, Gatekeeper};
use ingress_tests::bpf::generator::Varied;
use ingress_tests::golden::frame::{Ip6, UDP, udp6};
use ingress_tests::sites::{OFFICE_INTERFACE, Sites};
use nix::net::if_::if_nametoindex;
use std::net::Ipv6Addr;

/// The end of the source address, the end of the destination, and the source port; octets of payload against each.
const SOURCE: Varied = Varied { number: 14 + 22, bits: 0xffff, complements: &[54 + 8] };
const DESTINATION: Varied = Varied { number: 14 + 38, bits: 0xffff, complements: &[54 + 12] };
const PORT: Varied = Varied { number: 54, bits: 0xffff, complements: &[54 + 10] };
/// Who routes by destination and remembers the last packet's route has much of that where all go to one server.
const TO_ONE: &[Varied] = &[SOURCE, PORT];
const TO_MANY: &[Varied] = &[SOURCE, DESTINATION, PORT];
const OUT: &[Varied] = &[DESTINATION, PORT];
/// Somebody in the world, before the number is written into the last two octets.
pub const SOMEBODY: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 1, 0);
/// The same of a server in the office.
const SOME_SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 2, 0, 1, 0);

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
/// Each is of another client, as in the world.
pub fn small(lab: &Lab, sites: &Sites, extent: &Extent, report: &mut Report) -> Result<()> {
    let [uplink, tunnel] = roads(lab, sites);
    let to_one = Ip6 { source: SOMEBODY, destination: OFFICE6, ..Ip6::default() };
    let to_many = Ip6 { destination: SOME_SERVER, ..to_one };
    let outward = Ip6 { source: OFFICE6, destination: SOMEBODY, ..Ip6::default() };
    let contenders = [Contender::Kernel, Contender::IngressIpv6];
    // Seconds that it takes to make a packet and bring it to the VPS, in this round.
    let mut before = [0.0; 3];
    rounds(lab, &contenders, extent, |contender, _| {
        for (nth, (measure, ip, varied, way, [_, to])) in [
            ("small packets in, to one server", &to_one, TO_ONE, uplink, tunnel),
            ("small packets in, to many servers", &to_many, TO_MANY, uplink, tunnel),
            ("small packets out", &outward, OUT, tunnel, uplink),
        ]
        .into_iter()
        .enumerate()
        {
            // The complements of what varies, so that the sum is right.
            let packet =
                ip.around(UDP, &udp6(ip, 0, 9, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]));
            let run = |sink| Flood::run(lab, way, (&packet, varied), sink, extent.flood);
            let nobody = match contender {
                Contender::Kernel => Some(run(Sink::In(way[1]))?.rates().0),
                Contender::IngressIpv6
                | Contender::Ingress
                | Contender::Nginx
                | Contender::Haproxy
                | Contender::Snid => None,
            };
            let (rate, lost) = run(Sink::Out(to))?.rates();
            report.add(Row::new(measure, "packets/s of one core", contender.title(), rate));
            if let Some(nobody) = nobody {
                before[nth] = 1.0 / nobody;
                report.add(Row::new(measure, "packets/s of one core", NOBODY, nobody));
                let [_, End { namespace, interface }] = way;
                let index = namespace.enter(|| if_nametoindex(to.interface))??;
                let _chute = Gatekeeper::post(namespace, interface, Gate::Chute(index))?;
                let (rate, _) = run(Sink::Out(to))?.rates();
                report.add(Row::new(measure, "packets/s of one core", CHUTE, rate));
            }
            report.add(Row::new(measure, "lost %", contender.title(), lost));
            let forwarding = (1.0 / rate - before[nth]) * 1e9;
            report.add(Row::new(measure, "ns to forward one", contender.title(), forwarding));
        }
        Ok(())
    })
}
