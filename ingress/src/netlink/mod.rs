//! Links, addresses, routes and rules as the kernel has them, and their changes. Nothing here reads /sys, which
//! may show another network namespace than the one that the daemon is in.

mod route;
mod rules;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context, Result};
use futures_util::{Stream, StreamExt, TryStreamExt};
use ingress_common::maps::MAX_ROUTES4;
use netlink_packet_route::{
    address::AddressAttribute,
    link::{LinkAttribute, LinkFlags, LinkLayerType},
};
use rtnetlink::{Handle, IpVersion, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use tokio::sync::watch;

pub use route::{Route, Route4};
pub use rules::Rules;

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

/// The network of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Interfaces by name.
    pub links: HashMap<String, Link>,
    /// IPv4 addresses with their interface's index.
    pub addresses: Vec<(u32, Ipv4Addr)>,
    /// IPv6 routes.
    pub routes: Vec<Route>,
    /// IPv4 routes; none where there are too many to look through.
    pub routes4: Vec<Route4>,
    /// Whether the tables that these are from decide alone.
    pub rules: Rules,
}

/// The connection to the kernel.
pub struct Netlink {
    handle: Handle,
    changes: watch::Receiver<()>,
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
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Rule,
            MulticastGroup::Ipv4Rule,
        ])
        .context("open a netlink socket")?;
        tokio::spawn(connection);
        Ok(Self { handle, changes: coalesced(messages) })
    }

    /// Waits for a change of links, addresses, routes or rules since the last call. Which one it was is not said, nor
    /// how many there were: look at a new [`Snapshot`].
    ///
    /// # Errors
    /// Where the connection has ended.
    pub async fn changed(&mut self) -> Result<()> {
        self.changes.changed().await.context("the netlink connection has ended")
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
            routes4: self.routes4().await.context("list IPv4 routes")?,
            rules: self.rules().await,
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
            found.extend(<Route>::read(&message));
        }
        Ok(found)
    }

    async fn routes4(&self) -> Result<Vec<Route4>, rtnetlink::Error> {
        let request = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let mut found = Vec::new();
        let mut messages = self.handle.route().get(request).execute();
        while let Some(message) = messages.try_next().await? {
            // Read to its end, or the next question meets a socket that is still answering this one.
            if found.len() <= MAX_ROUTES4 as usize {
                found.extend(Route4::read(&message));
            }
        }
        Ok(if found.len() > MAX_ROUTES4 as usize { Vec::new() } else { found })
    }

    /// A kernel that has no rules, or does not tell them, is one to ask each time.
    async fn rules(&self) -> Rules {
        let of = async |version| {
            let listed: Result<Vec<_>, _> =
                self.handle.rule().get(version).execute().try_collect().await;
            listed.is_ok_and(|rules| rules::are_the_kernels_own(&rules))
        };
        Rules { usual4: of(IpVersion::V4).await, usual6: of(IpVersion::V6).await }
    }
}

/// Any number of messages as one signal. They are taken in as they come, since the connection queues them without a
/// bound: a flapping route may send thousands while nobody looks. What the kernel had no room for is among them, as
/// a message that says so (`ENOBUFS`).
fn coalesced<Message>(
    mut messages: impl Stream<Item = Message> + Send + Unpin + 'static,
) -> watch::Receiver<()> {
    let (changed, changes) = watch::channel(());
    tokio::spawn(async move {
        while messages.next().await.is_some() {
            changed.send_replace(());
        }
    });
    changes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn many_messages_are_one_change() {
        let mut changes = coalesced(stream::iter(0..1000).chain(stream::pending()));
        sleep(Duration::from_millis(20)).await;
        assert!(changes.changed().await.is_ok());
        let another = timeout(Duration::from_millis(20), changes.changed()).await;
        assert!(another.is_err(), "one message is left");
    }

    #[tokio::test]
    async fn the_last_change_is_told_before_the_end() {
        let mut changes = coalesced(stream::iter([(), ()]));
        sleep(Duration::from_millis(20)).await;
        assert!(changes.changed().await.is_ok());
        assert!(changes.changed().await.is_err());
    }
}
