//! One route as netlink tells it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType,
};

/// A route of the main or the local table, of IPv6 unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<Net = Ipv6Net, Address = Ipv6Addr> {
    /// To where.
    pub destination: Net,
    /// Interfaces it leads through; empty for routes that end here or nowhere.
    pub through: Vec<u32>,
    /// Metric; the smaller one counts.
    pub metric: u32,
    /// Whether packets go on from here, rather than ending at this host or being refused.
    pub forwards: bool,
    /// Whether it is of the local table, which comes before the main one.
    pub local: bool,
    /// The router that every packet of this route is handed to, where there is no doubt of that.
    pub router: Option<Address>,
}

/// A route of IPv4.
pub type Route4 = Route<Ipv4Net, Ipv4Addr>;

/// The table of this host's own addresses (`linux/rtnetlink.h`).
const RT_TABLE_LOCAL: u32 = 255;

impl Route {
    pub(super) fn read(message: &RouteMessage) -> Option<Self> {
        let Route { destination, through, metric, forwards, local, router } =
            read(message, Ipv6Addr::UNSPECIFIED.into())?;
        let IpNet::V6(destination) = destination else { return None };
        let router = match router {
            Some(IpAddr::V6(router)) => Some(router),
            Some(IpAddr::V4(_)) | None => None,
        };
        Some(Self { destination, through, metric, forwards, local, router })
    }
}

impl Route4 {
    pub(super) fn read(message: &RouteMessage) -> Option<Self> {
        let Route { destination, through, metric, forwards, local, router } =
            read(message, Ipv4Addr::UNSPECIFIED.into())?;
        let IpNet::V4(destination) = destination else { return None };
        let router = match router {
            Some(IpAddr::V4(router)) => Some(router),
            Some(IpAddr::V6(_)) | None => None,
        };
        Some(Self { destination, through, metric, forwards, local, router })
    }
}

fn read(message: &RouteMessage, everywhere: IpAddr) -> Option<Route<IpNet, IpAddr>> {
    let header = &message.header;
    // What the kernel remembers of single destinations, such as their path MTUs. Anybody can make it do so.
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut table = u32::from(header.table);
    let mut destination = everywhere;
    let mut through = Vec::new();
    let mut metric = 0;
    let mut router = None;
    // Some packets of this destination may go another way, which is not for us to tell.
    let mut doubtful = header.source_prefix_length > 0
        || header.tos > 0
        || header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown);
    for attribute in &message.attributes {
        if let RouteAttribute::Destination(value) = attribute {
            destination = address(value)?;
        } else if let RouteAttribute::Oif(index) = attribute {
            through.push(*index);
        } else if let RouteAttribute::MultiPath(hops) = attribute {
            through.extend(hops.iter().map(|hop| hop.interface_index));
            doubtful = true;
        } else if let RouteAttribute::Priority(value) = attribute {
            metric = *value;
        } else if let RouteAttribute::Table(value) = attribute {
            table = *value;
        } else if let RouteAttribute::Gateway(value) = attribute {
            router = address(value);
        } else if matches!(
            attribute,
            // A next hop of its own changes without the route; an encapsulation is more than an address.
            RouteAttribute::NhId(_)
                | RouteAttribute::Via(_)
                | RouteAttribute::Encap(_)
                | RouteAttribute::EncapType(_)
        ) {
            doubtful = true;
        }
    }
    let main = table == u32::from(RouteHeader::RT_TABLE_MAIN);
    let local = table == RT_TABLE_LOCAL;
    if !main && !local {
        return None;
    }
    let destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
    let forwards = main && header.kind == RouteType::Unicast;
    let router = router.filter(|_| forwards && !doubtful);
    Some(Route { destination, through, metric, forwards, local, router })
}

fn address(value: &RouteAddress) -> Option<IpAddr> {
    if let RouteAddress::Inet(value) = value {
        Some((*value).into())
    } else if let RouteAddress::Inet6(value) = value {
        Some((*value).into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteNextHop;

    use super::*;

    const GATEWAY: &str = "2001:db8:f::1";

    fn message(more: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        let gateway = GATEWAY.parse::<Ipv6Addr>().unwrap();
        message.attributes =
            vec![RouteAttribute::Oif(2), RouteAttribute::Gateway(RouteAddress::Inet6(gateway))];
        message.attributes.extend(more);
        message
    }

    fn router(message: &RouteMessage) -> Option<Ipv6Addr> {
        <Route>::read(message).unwrap().router
    }

    #[test]
    fn the_router_of_a_plain_route() {
        let plain = message(vec![RouteAttribute::Priority(7)]);
        let route = <Route>::read(&plain).unwrap();
        assert_eq!((route.destination.prefix_len(), route.metric), (0, 7));
        assert_eq!((route.through, route.router), (vec![2], Some(GATEWAY.parse().unwrap())));
        assert_eq!(Route4::read(&message(Vec::new())).unwrap().router, None, "of another protocol");
    }

    /// Who sends a forged Packet Too Big makes one.
    #[test]
    fn an_exception_is_no_route() {
        let mut learned = message(Vec::new());
        assert!(<Route>::read(&learned).is_some());
        learned.header.flags = RouteFlags::Cloned;
        assert!(<Route>::read(&learned).is_none());
        assert!(Route4::read(&learned).is_none());
    }

    #[test]
    fn no_router_where_there_is_doubt() {
        let another = RouteAttribute::MultiPath(vec![RouteNextHop::default()]);
        for attribute in [another, RouteAttribute::NhId(1), RouteAttribute::Encap(Vec::new())] {
            assert_eq!(router(&message(vec![attribute.clone()])), None, "{attribute:?}");
        }
        let changes: [fn(&mut RouteHeader); 5] = [
            |header| header.source_prefix_length = 64,
            |header| header.tos = 8,
            |header| header.flags = RouteFlags::Linkdown,
            |header| header.kind = RouteType::Unreachable,
            |header| header.table = 255,
        ];
        for change in changes {
            let mut message = message(Vec::new());
            change(&mut message.header);
            assert_eq!(router(&message), None, "{:?}", message.header);
        }
    }
}
