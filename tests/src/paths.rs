//! Paths that are worse than the lab's usual one: narrower, without batches, or leading nowhere.

use crate::netns::Namespace;
use crate::process;
use anyhow::Result;
use std::net::Ipv6Addr;

/// The router's route to the client.
pub const TO_CLIENT: &str = "192.0.2.0/24 dev client proto kernel scope link src 192.0.2.1";
/// The router's route to the VPS.
pub const TO_VPS: &str = "198.51.100.0/24 dev vps proto kernel scope link src 198.51.100.1";
/// The route at home to the servers.
pub const TO_SERVERS: &str = "2001:db8:1:0:1::/80 dev lan proto kernel metric 256";

/// A route that a router takes for narrower than its device.
#[derive(Debug)]
pub struct Narrow<'a> {
    router: &'a Namespace,
    route: &'static str,
    learned: Vec<&'a Namespace>,
}

impl<'a> Narrow<'a> {
    /// Narrows it. `learned` are the machines that find out about it, and forget it again.
    pub fn path(
        router: &'a Namespace,
        route: &'static str,
        mtu: u16,
        learned: &[&'a Namespace],
    ) -> Result<Self> {
        router.ip(&format!("route replace {route} mtu lock {mtu}\n"))?;
        Ok(Self { router, route, learned: learned.to_vec() })
    }
}

impl Drop for Narrow<'_> {
    fn drop(&mut self) {
        let _ = self.router.ip(&format!("route replace {}\n", self.route));
        for machine in &self.learned {
            let _ = machine.ip("route flush cache\n");
            if let Ok(mut ip) = machine.command("ip") {
                let _ = process::output(ip.args(["-6", "route", "flush", "cache"]));
            }
        }
    }
}

/// A machine that its router has no way to.
#[derive(Debug)]
pub struct Away<'a> {
    router: &'a Namespace,
    address: Ipv6Addr,
}

impl<'a> Away<'a> {
    /// Takes it away.
    pub fn new(router: &'a Namespace, address: Ipv6Addr) -> Result<Self> {
        router.ip(&format!("route add unreachable {address}\n"))?;
        Ok(Self { router, address })
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let _ = self.router.ip(&format!("route del unreachable {}\n", self.address));
    }
}

/// Interfaces that send each segment in a frame of its own, so that one loss is one segment.
#[derive(Debug)]
pub struct SingleSegments(Vec<(Namespace, &'static str)>);

impl SingleSegments {
    /// From now until this is dropped.
    pub fn from(interfaces: &[(&Namespace, &'static str)]) -> Result<Self> {
        let single =
            Self(interfaces.iter().map(|&(machine, name)| (machine.clone(), name)).collect());
        single.0.iter().try_for_each(|end| set_segments(end, 1))?;
        Ok(single)
    }
}

impl Drop for SingleSegments {
    fn drop(&mut self) {
        for end in &self.0 {
            let _ = set_segments(end, 65535);
        }
    }
}

fn set_segments((machine, interface): &(Namespace, &str), most: u32) -> Result<()> {
    machine.ip(&format!("link set {interface} gso_max_segs {most}\n"))
}
