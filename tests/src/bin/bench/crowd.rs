//! What a large flow table does to a whole packet, from the generator through the VPS to the other side: beside the
//! program, which [`programs::flows`](crate::programs::flows) has by itself, there is all that any forwarding takes.

use crate::contender::{Contender, ingress_config};
use crate::measures::{Extent, rounds};
use crate::origin;
use crate::report::{Report, Row};
use crate::small::roads;
use crate::wire::{Flood, Sink};
use anyhow::{Context, Result, ensure};
use ingress::config::Config;
use ingress::dataplane::{FlowMaps, Pins};
use ingress::flows::FlowTable;
use ingress::handshake::{Backend, ClientTuple, Splice};
use ingress_tests::Lab;
use ingress_tests::addresses::{NAT46_PREFIX, OFFICE6, VPS4};
use ingress_tests::bpf::generator::Varied;
use ingress_tests::golden::bench::now;
use ingress_tests::golden::frame::{Ip4, Ip6};
use ingress_tests::golden::place::{backend_segment, client_segment, splice};
use ingress_tests::sites::Sites;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// Clients are this one and those that differ in the last two octets.
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 0);
/// Each has this port, and some of those that differ in the last four bits.
const PORT: u16 = 0xa000;
/// In what goes in: the end of the source address, against it the packet's identification and octets of payload;
/// the source port, and octets of payload against it.
const IN: [(i16, &[i16]); 2] = [(14 + 14, &[14 + 4, 54]), (34, &[56])];
/// The same in what goes out, with the destination's.
const OUT: [(i16, &[i16]); 2] = [(14 + 38, &[74]), (56, &[76])];

/// Which bits of a client's address and port are random.
#[derive(Clone, Copy)]
struct Crowd {
    address: u16,
    port: u16,
}

impl Crowd {
    /// About as many flows as that: a power of two.
    const fn of(count: u32) -> Self {
        let bits = count.next_power_of_two().trailing_zeros();
        let of_port = bits.saturating_sub(16);
        Self { address: ((1 << (bits - of_port)) - 1) as u16, port: (1 << of_port) - 1 }
    }

    fn count(self) -> u32 {
        (u32::from(self.address) + 1) * (u32::from(self.port) + 1)
    }

    fn clients(self) -> impl Iterator<Item = SocketAddrV4> {
        (0..=self.address).flat_map(move |end| {
            let client = Ipv4Addr::from(u32::from(CLIENT) | u32::from(end));
            (0..=self.port).map(move |port| SocketAddrV4::new(client, PORT | port))
        })
    }

    fn varied(self, [address, port]: [(i16, &'static [i16]); 2]) -> [Varied; 2] {
        [
            Varied { number: address.0, bits: self.address, complements: address.1 },
            Varied { number: port.0, bits: self.port, complements: port.1 },
        ]
    }
}

/// Segments of few flows and of many, in the same table, by turns.
pub fn crowd(lab: &Lab, sites: &Sites, extent: &Extent, report: &mut Report) -> Result<()> {
    let crowds = extent.flows.map(Crowd::of);
    let [uplink, tunnel] = roads(lab, sites);
    let source = embedded(CLIENT)?;
    let inward = Ip4 { source: CLIENT, destination: VPS4, id: 0xffff, ..Ip4::default() };
    let outward = Ip6 { source: OFFICE6, destination: source, ..Ip6::default() };
    let payload = [0xffff_u16.to_be_bytes(), (!PORT).to_be_bytes(), [0; 2], [0; 2]].concat();
    let mut to_backend = client_segment();
    (to_backend.source, to_backend.destination) = (PORT, origin::PORT);
    let mut to_client = backend_segment();
    (to_client.source, to_client.destination) = (origin::PORT, PORT);
    (to_backend.payload, to_client.payload) = (payload.clone(), payload);
    let packets = [to_backend.over4(&inward), to_client.over6(&outward)];
    let once = Extent { rounds: 1, ..*extent };
    rounds(lab, &[Contender::Ingress], &once, |_, _| {
        install(lab, crowds[1])?;
        for _ in 0..extent.rounds {
            for (measure, packet, varied, way, sink) in [
                ("flow table, whole packets in", &packets[0], IN, uplink, Sink::Out(tunnel[1])),
                ("flow table, whole packets out", &packets[1], OUT, tunnel, Sink::Out(uplink[1])),
            ] {
                for crowd in crowds {
                    let varied = crowd.varied(varied);
                    let flood = Flood::run(lab, way, (packet, &varied), sink, extent.flood)?;
                    let (rate, lost) = flood.rates();
                    ensure!(lost < 1.0, "{lost} % of the packets do not come through");
                    let who = format!("{} flows", crowd.count());
                    report.add(Row::new(measure, "ns", &who, 1e9 / rate));
                }
            }
        }
        Ok(())
    })
}

/// Beside those that the daemon has installed itself, from which the number of the site is known.
fn install(lab: &Lab, crowd: Crowd) -> Result<()> {
    let config = Config::parse(&ingress_config(lab), "the daemon's")?;
    let maps = || FlowMaps::open(Pins::open(&config.daemon.bpffs)?.maps());
    let known = maps()?.flows().find(|flow| *flow.backend().ip() == OFFICE6);
    let site = known.context("no flow to the office")?.to_backend.site;
    let mut table = FlowTable::open(maps()?);
    for client in crowd.clients() {
        let address = SocketAddrV6::new(OFFICE6, origin::PORT, 0, 0);
        let source = embedded(*client.ip())?;
        let backend = Backend { address, source, site, mss_limit: 1360 };
        let tuple = ClientTuple { client, listen: SocketAddrV4::new(VPS4, origin::PORT) };
        table.install(tuple, &Splice { backend, ..splice() }, now())?;
    }
    Ok(())
}

fn embedded(client: Ipv4Addr) -> Result<Ipv6Addr> {
    let prefix: Ipv6Addr = NAT46_PREFIX.trim_end_matches("/96").parse()?;
    Ok(Ipv6Addr::from(u128::from(prefix) | u128::from(u32::from(client))))
}
