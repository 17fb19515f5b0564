//! The programs alone, run by the kernel on packets of memory: what each verdict costs, and what a large flow
//! table does to it.

use crate::machine;
use crate::measures::Extent;
use crate::report::{Report, Row};
use anyhow::Result;
use ingress::dataplane::{Dataplane, Hook};
use ingress::handshake::{Backend, ClientTuple, Splice};

use ingress_tests::bpf::test_run::Skb;
use ingress_tests::golden::bench::{Bench, REDIRECT, Side, now};
use ingress_tests::golden::cases::{close, install, tracked, with_flow, without_flow, yardstick};
use ingress_tests::golden::frame::{Ip4, Ip6, unpadded};
use ingress_tests::golden::pins::Pins;
use ingress_tests::golden::place::{
    self, backend_segment, client_segment, from_backend, from_client, splice,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

/// Flows whose packets are timed in one round; each packet is of another flow, anywhere in the table.
const SAMPLES: usize = 4_000;

/// Every program and verdict, against a program that never changes; and how large the programs are.
pub fn programs(extent: &Extent, report: &mut Report) -> Result<()> {
    let mut bench = Bench::with_room("programs", 64);
    for _ in 0..extent.rounds {
        bench.reset();
        for (measure, cases, prepare) in [
            ("programs, the same packet again", without_flow(), install as fn(&mut Bench)),
            ("programs, each packet anew", with_flow(), close),
            ("programs, each packet anew", tracked(), |_| {}),
        ] {
            let kept = cases.iter().all(|case| case.is_kept());
            for case in std::iter::once(yardstick(kept)).chain(cases) {
                let nanoseconds = case.time(&mut bench).as_secs_f64() * 1e9;
                report.add(Row::new(measure, "ns", case.name, nanoseconds));
            }
            // The first packets are of no flow, the last ones of a policy.
            prepare(&mut bench);
        }
    }
    sizes(report)
}

fn sizes(report: &mut Report) -> Result<()> {
    let pins = Pins::new("sizes");
    let (mut dataplane, _tables) = Dataplane::open(pins.path(), 64)?;
    for name in Hook::PROGRAMS {
        let info = dataplane.program(name)?.info()?;
        if let Some(verified) = info.verified_instruction_count() {
            report.add(Row::new("programs", "instructions verified", name, verified.into()));
        }
        if let Some(translated) = info.size_translated() {
            report.add(Row::new("programs", "instructions", name, f64::from(translated) / 8.0));
        }
    }
    Ok(())
}

/// One packet of each of many flows, in a small table and in a large one.
pub fn flows(extent: &Extent, report: &mut Report) -> Result<()> {
    let mut tables = Vec::new();
    for count in extent.flows {
        let before = machine::available()?;
        let mut bench = Bench::with_room(&format!("flows-{count}"), count);
        for nth in 0..count {
            let (tuple, splice) = flow(nth);
            bench.flows.install(tuple, &splice, now())?;
        }
        let name = format!("{count} flows");
        if count == extent.flows[1] {
            let octets = before.saturating_sub(machine::available()?) as f64 / f64::from(count);
            report.add(Row::new("flow table", "octets each, kernel", &name, octets));
        }
        tables.push((count, name, bench));
    }
    for _ in 0..extent.rounds {
        for (measure, side) in [("flow table, in", Side::Uplink), ("flow table, out", Side::Tunnel)]
        {
            for (count, name, bench) in &mut tables {
                let median = median_time(bench, side, *count);
                report.add(Row::new(measure, "ns", name, median.as_secs_f64() * 1e9));
            }
        }
    }
    Ok(())
}

fn median_time(bench: &mut Bench, side: Side, count: u32) -> Duration {
    let mut times: Vec<Duration> = (0..SAMPLES as u32)
        .map(|sample| {
            // Multiplied by an odd number, the numbers lie everywhere.
            let (tuple, splice) = flow(sample.wrapping_mul(0x9e37_79b1) % count);
            let packet = if side == Side::Uplink {
                client_segment().over4(&Ip4 { source: *tuple.client.ip(), ..from_client() })
            } else {
                let ip = Ip6 { destination: splice.backend.source, ..from_backend() };
                backend_segment().over6(&ip)
            };
            let ran = bench.time(side, &unpadded(&packet), Skb::default());
            assert_eq!(ran.action, REDIRECT, "{tuple:?}");
            ran.each
        })
        .collect();
    times.sort_unstable();
    times[SAMPLES / 2]
}

/// Each of another client.
fn flow(nth: u32) -> (ClientTuple, Splice) {
    let client = Ipv4Addr::from(u32::from(Ipv4Addr::new(203, 0, 0, 0)) + nth);
    let prefix = u128::from(place::SOURCE) >> 32 << 32;
    let source = Ipv6Addr::from(prefix | u128::from(u32::from(client)));
    let splice = splice();
    let backend = Backend { source, ..splice.backend };
    let client = SocketAddrV4::new(client, place::CLIENT.port());
    (ClientTuple { client, listen: place::LISTEN }, Splice { backend, ..splice })
}
