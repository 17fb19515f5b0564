//! Routers by number, as routes refer to them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use ingress_common::maps::{self, ASK_KERNEL, NextHop};

use super::super::take;

/// Routers by number. A packet in flight may have read a number already, so none is given to another router in the
/// same breath in which the last route lost it.
pub struct NextHops {
    map: Array<MapData, NextHop>,
    /// Whose each number is, whether or not the map says so at the moment.
    owners: Vec<Option<IpAddr>>,
}

impl NextHops {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let map = Array::try_from(take(ebpf, "NEXT_HOPS")?)?;
        let owners = (0..maps::NEXT_HOPS).map(|number| Ok(address(&map.get(&number, 0)?)));
        let owners = owners.collect::<Result<_>>().context("read the routers")?;
        Ok(Self { map, owners })
    }

    /// Gives every router a number: the one it has, or a free one. Who gets none is left to the kernel.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn number(&mut self, routers: impl Iterator<Item = IpAddr>) -> Result<HashMap<IpAddr, u8>> {
        let mut numbers = HashMap::new();
        for router in routers {
            if numbers.contains_key(&router) {
                continue;
            }
            let had = self.owners.iter().position(|owner| *owner == Some(router));
            let first = usize::from(ASK_KERNEL) + 1;
            let free = || (first..self.owners.len()).find(|number| self.owners[*number].is_none());
            let Some(number) = had.or_else(free) else { continue };
            self.map.set(u32::try_from(number)?, next_hop(router), 0).context("enter a router")?;
            self.owners[number] = Some(router);
            numbers.insert(router, u8::try_from(number)?);
        }
        Ok(numbers)
    }

    /// Frees all other numbers, once no route has them.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn forget_others(&mut self, numbers: &HashMap<IpAddr, u8>) -> Result<()> {
        for (number, owner) in (0..).zip(&mut self.owners) {
            if owner.is_some_and(|router| !numbers.contains_key(&router)) {
                self.map.set(number, NextHop::default(), 0).context("forget a router")?;
                *owner = None;
            }
        }
        Ok(())
    }

    /// Has the kernel asked for each packet, until the routers are numbered again.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn distrust(&mut self) -> Result<()> {
        let known = (0..).zip(&self.owners).filter(|(_, owner)| owner.is_some());
        for (number, _) in known {
            self.map.set(number, NextHop::default(), 0).context("distrust a router")?;
        }
        Ok(())
    }
}

fn next_hop(router: IpAddr) -> NextHop {
    match router {
        IpAddr::V4(router) => {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&router.octets());
            NextHop { family: NextHop::IPV4, address }
        }
        IpAddr::V6(router) => NextHop { family: NextHop::IPV6, address: router.octets() },
    }
}

fn address(next_hop: &NextHop) -> Option<IpAddr> {
    let [a, b, c, d, ..] = next_hop.address;
    match next_hop.family {
        NextHop::IPV4 => Some(Ipv4Addr::new(a, b, c, d).into()),
        NextHop::IPV6 => Some(Ipv6Addr::from(next_hop.address).into()),
        _ => None,
    }
}
