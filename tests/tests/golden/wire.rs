//! The programs at work: attached to real devices of every kind, in a network namespace of their own.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use aya::maps::{MapData, RingBuf};
use ingress::config::Policy;
use ingress::dataplane::{
    Counters, Dataplane, Hook, Marks, NextHops, PolicyTables, Routes, Routes4, Secrets,
};
use ingress::flows::FlowTable;
use ingress::policy::compile;
use ingress_common::verdict::DropReason;

use crate::bench::{Record, now, read_record};
use crate::device::{Device, alone};
use crate::pins::Pins;
use crate::place;

/// A machine with an uplink and a tunnel. Fields are dropped in order.
pub struct Wire {
    pub uplink: Device,
    pub tunnel: Device,
    pub marks: Marks,
    pub flows: FlowTable,
    pub routes: Routes,
    pub next_hops: NextHops,
    pub routes4: Routes4,
    pub secrets: Secrets,
    policy: PolicyTables,
    counters: Counters,
    ring: RingBuf<MapData>,
    _dataplane: Dataplane,
    _pins: Pins,
}

/// Whether the uplink and the tunnel have Ethernet headers: every pair there is.
const KINDS: [(bool, bool); 4] = [(true, false), (true, true), (false, false), (false, true)];

/// Runs a test on machines with every kind of device.
pub fn on_every_wire(test: impl Fn(&mut Wire) + Sync) {
    for (uplink, tunnel) in KINDS {
        let ran = alone(|| test(&mut Wire::new(uplink, tunnel)));
        assert!(ran, "with Ethernet on the uplink: {uplink}, on the tunnel: {tunnel}");
    }
}

impl Wire {
    fn new(uplink_ethernet: bool, tunnel_ethernet: bool) -> Self {
        let pins = Pins::new(&format!("wire-{:?}", thread::current().id()).replace(['(', ')'], ""));
        let uplink = Device::create("world", uplink_ethernet);
        let tunnel = Device::create("home", tunnel_ethernet);
        configure(&uplink, &tunnel);

        let (mut dataplane, tables) = Dataplane::open(pins.path(), 64).unwrap();
        let (mut routes, mut listeners) = (tables.network.routes, tables.network.listeners);
        routes.replace(&place::routes()).unwrap();
        listeners.replace(&place::listeners()).unwrap();
        let (mut devices, mut secrets) = (tables.network.devices, tables.handshakes.secrets);
        devices
            .set_uplink(place::device(uplink.index, place::UPLINK_MTU, uplink_ethernet))
            .unwrap();
        devices.set_site(0, place::device(tunnel.index, place::MTU, tunnel_ethernet)).unwrap();
        secrets.set_keys(place::KEYS).unwrap();
        // No test lasts that long.
        secrets.beat(now() + 3600 * 1_000_000_000).unwrap();
        let mut attach = |device: &Device, hook| {
            dataplane.attach(device.name, device.index, hook).unwrap();
        };
        attach(&uplink, Hook::Uplink { ethernet: uplink_ethernet });
        attach(&tunnel, Hook::Tunnel { ethernet: tunnel_ethernet });
        Self {
            uplink,
            tunnel,
            marks: tables.handshakes.marks,
            flows: FlowTable::open(tables.handshakes.flows),
            routes,
            next_hops: tables.network.next_hops,
            routes4: tables.network.routes4,
            secrets,
            policy: tables.network.policy,
            counters: tables.counters,
            ring: tables.handshakes.upcalls,
            _dataplane: dataplane,
            _pins: pins,
        }
    }

    /// Puts a policy in force.
    pub fn govern(&mut self, policy: &Policy) {
        self.policy.replace(&compile(policy).unwrap(), now()).unwrap();
    }

    /// What went to the daemon since the last look.
    pub fn records(&mut self) -> Vec<Record> {
        std::iter::from_fn(|| self.ring.next().map(|record| read_record(&record))).collect()
    }

    /// Packets dropped for this reason so far.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.counters.drops(reason)
    }

    /// Packets dropped for any reason.
    pub fn all_drops(&self) -> u64 {
        DropReason::ALL.iter().map(|reason| self.counters.drops(*reason)).sum()
    }
}

fn configure(uplink: &Device, tunnel: &Device) {
    let mut script = String::from("link set lo up\n");
    for (device, mtu) in [(uplink, place::UPLINK_MTU), (tunnel, place::MTU)] {
        script += &format!("link set {} mtu {mtu}\n", device.name);
        if device.ethernet {
            script += &format!("link set {} address 02:00:00:00:00:02\n", device.name);
        }
        script += &format!("link set {} up\n", device.name);
    }
    let neighbour = |device: &Device, address: &str| match device.ethernet {
        true => format!("neigh add {address} lladdr 02:00:00:00:00:01 dev {}\n", device.name),
        false => String::new(),
    };
    script += "addr add 198.51.100.2/24 dev world\n\
        addr add 2001:db8:f::2/64 dev world nodad\n\
        addr add 2001:db8:1:0:1::1/80 dev home nodad\n\
        route add default via 198.51.100.1 dev world\n\
        route add default via 2001:db8:f::1 dev world\n";
    // Others on the links are known by what their address ends in.
    for (device, address) in [
        (uplink, "198.51.100.7"),
        (uplink, "2001:db8:f::7"),
        (uplink, "2001:db8:f::8"),
        (tunnel, "2001:db8:1:0:1::7"),
    ] {
        script += &neighbour(device, address)
            .replace(":00:01 dev", &format!(":00:0{} dev", &address[address.len() - 1..]));
    }
    script += &neighbour(uplink, "198.51.100.1");
    script += &neighbour(uplink, "2001:db8:f::1");
    script += &neighbour(tunnel, "2001:db8:1:0:1::80");
    for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        std::fs::write(format!("/proc/sys/net/{forwarding}"), "1").unwrap();
    }
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success(), "{script}");
}
