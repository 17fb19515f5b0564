//! Small packets over the IPv6 path, where the cost of each counts and not that of its octets.

use crate::contender::Contender;
use crate::measures::{Extent, rounds};
use crate::report::{Report, Row};
use crate::wire::{End, Flood};
use anyhow::Result;
use ingress_tests::Lab;
use ingress_tests::addresses::{CLIENT6, OFFICE6};
use ingress_tests::bpf::generator::Varied;
use ingress_tests::golden::frame::{Ip6, UDP, udp6};
use ingress_tests::sites::{OFFICE_INTERFACE, Sites};

/// Behind the headers of Ethernet and IPv6: the source port, and the first octets of payload against it.
const VARIED: [Varied; 1] = [Varied { number: 54, complements: &[54 + 8] }];

/// Datagrams with eight octets, into the site and out of it: all from one processor, which forwards them too.
pub fn small(lab: &Lab, sites: &Sites, extent: &Extent, report: &mut Report) -> Result<()> {
    let uplink = [
        End { namespace: &lab.inet, interface: "vps" },
        End { namespace: &lab.vps, interface: "eth0" },
    ];
    let tunnel = [
        End { namespace: &sites.router, interface: "vps" },
        End { namespace: &lab.vps, interface: OFFICE_INTERFACE },
    ];
    let inward = Ip6 { source: CLIENT6, destination: OFFICE6, ..Ip6::default() };
    let outward = Ip6 { source: OFFICE6, destination: CLIENT6, ..Ip6::default() };
    let contenders = [Contender::Kernel, Contender::IngressIpv6];
    rounds(lab, &contenders, extent, |contender, _| {
        for (measure, ip, way, out) in [
            ("small packets in, IPv6", &inward, uplink, tunnel[0]),
            ("small packets out, IPv6", &outward, tunnel, uplink[0]),
        ] {
            // The second word of what varies, so that the sum is right.
            let packet = ip.around(UDP, &udp6(ip, 0, 9, &[0xff, 0xff, 0, 0, 0, 0, 0, 0]));
            let flood = Flood::run(lab, way, (&packet, &VARIED), out, extent.flood)?;
            let (rate, lost) = flood.rates();
            report.add(Row::new(measure, "packets/s of one core", contender.title(), rate));
            report.add(Row::new(measure, "lost %", contender.title(), lost));
        }
        Ok(())
    })
}
