//! Links, addresses and routes as the kernel has them, and their changes. Nothing here reads /sys, which
//! may show another network namespace than the one that the daemon is in.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
};

use anyhow::{Context, Result};
use futures_util::{Stream, StreamExt, TryStreamExt};
use ipnet::Ipv6Net;
use netlink_packet_route::{
    address::AddressAttribute,
    link::{LinkAttribute, LinkFlags, LinkLayerType},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType},
};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its MTU in octets.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether its frames have an Ethernet header.
    pub ethernet: bool,
}

/// An IPv6 route of the main or the local table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// To where.
    pub destination: Ipv6Net,
    /// Interfaces it leads through; empty for routes that end here or nowhere.
    pub through: Vec<u32>,
    /// Metric; the smaller one counts.
    pub metric: u32,
    /// Whether packets go on from here, rather than ending at this host or being refused.
    pub forwards: bool,
}

/// The network of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Interfaces by name.
    pub links: HashMap<String, Link>,
    /// IPv4 addresses with their interface's index.
    pub addresses: Vec<(u32, Ipv4Addr)>,
    /// IPv6 routes.
    pub routes: Vec<Route>,
}

/// The table of this host's own addresses (`linux/rtnetlink.h`).
const RT_TABLE_LOCAL: u32 = 255;

/// The connection to the kernel.
pub struct Netlink {
    handle: Handle,
    changes: Pin<Box<dyn Stream<Item = ()> + Send + Sync>>,
}

impl Netlink {
    /// Connects and subscribes. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Where the kernel refuses the socket.
    pub fn connect() -> Result<Self> {
        let (connection, handle, messages) = new_multicast_connection(&[
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
        ])
        .context("open a netlink socket")?;
        tokio::spawn(connection);
        Ok(Self { handle, changes: Box::pin(messages.map(|_| ())) })
    }

    /// Waits for a change of links, addresses or routes. Which one is not said: look at a new
    /// [`Snapshot`].
    ///
    /// # Errors
    /// Where the connection has ended.
    pub async fn changed(&mut self) -> Result<()> {
        self.changes.next().await.context("the netlink connection has ended")
    }

    /// The network as it is now.
    ///
    /// # Errors
    /// Where the kernel refuses a request.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot {
            links: self.links().await.context("list links")?,
            addresses: self.addresses().await.context("list addresses")?,
            routes: self.routes().await.context("list routes")?,
        })
    }

    async fn links(&self) -> Result<HashMap<String, Link>, rtnetlink::Error> {
        let mut found = HashMap::new();
        let mut messages = self.handle.link().get().execute();
        while let Some(message) = messages.try_next().await? {
            let mut name = None;
            let mut mtu = 0;
            for attribute in message.attributes {
                if let LinkAttribute::IfName(value) = attribute {
                    name = Some(value);
                } else if let LinkAttribute::Mtu(value) = attribute {
                    mtu = value;
                }
            }
            let header = message.header;
            let link = Link {
                index: header.index,
                mtu,
                up: header.flags.contains(LinkFlags::Up),
                ethernet: header.link_layer_type == LinkLayerType::Ether,
            };
            found.extend(name.map(|name| (name, link)));
        }
        Ok(found)
    }

    async fn addresses(&self) -> Result<Vec<(u32, Ipv4Addr)>, rtnetlink::Error> {
        let mut found = Vec::new();
        let mut messages = self.handle.address().get().execute();
        while let Some(message) = messages.try_next().await? {
            // On a point-to-point link `Address` is the peer's and `Local` ours.
            let (mut local, mut address) = (None, None);
            for attribute in &message.attributes {
                if let AddressAttribute::Local(IpAddr::V4(value)) = attribute {
                    local = Some(*value);
                } else if let AddressAttribute::Address(IpAddr::V4(value)) = attribute {
                    address = Some(*value);
                }
            }
            found.extend(local.or(address).map(|address| (message.header.index, address)));
        }
        Ok(found)
    }

    async fn routes(&self) -> Result<Vec<Route>, rtnetlink::Error> {
        let request = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut found = Vec::new();
        let mut messages = self.handle.route().get(request).execute();
        while let Some(message) = messages.try_next().await? {
            found.extend(route(&message));
        }
        Ok(found)
    }
}

fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let mut destination = Ipv6Addr::UNSPECIFIED;
    let mut through = Vec::new();
    let mut metric = 0;
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet6(value)) = attribute {
            destination = *value;
        } else if let RouteAttribute::Oif(index) = attribute {
            through.push(*index);
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            through.extend(hops.iter().map(|hop| hop.interface_index));
        } else if let RouteAttribute::Priority(value) = attribute {
            metric = *value;
        } else if let RouteAttribute::Table(value) = attribute {
            table = *value;
        }
    }
    let main = table == u32::from(RouteHeader::RT_TABLE_MAIN);
    let local = table == RT_TABLE_LOCAL;
    if !main && !local {
        return None;
    }
    let destination = Ipv6Net::new(destination, header.destination_prefix_length).ok()?;
    let forwards = main && header.kind == RouteType::Unicast;
    Some(Route { destination, through, metric, forwards })
}
