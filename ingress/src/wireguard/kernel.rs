//! The kernel's WireGuard: `WG_CMD_GET_DEVICE` over generic netlink.

use std::{io, os::fd::AsRawFd, time::Duration};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::{
    GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_packet_wireguard::{
    WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd, WireguardMessage,
    WireguardPeer, WireguardPeerAttribute,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike},
};

use super::Peer;

const PATIENCE: Duration = Duration::from_secs(1);

/// None without WireGuard in the kernel, or where the device is none of its.
pub(super) fn peers(interface: &str) -> io::Result<Option<Vec<Peer>>> {
    let socket = connect()?;
    let Some(family) = absent_is_none(family(&socket))? else { return Ok(None) };
    absent_is_none(device(&socket, family, interface))
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    const NOT_HERE: [i32; 3] = [libc::ENOENT, libc::ENODEV, libc::EOPNOTSUPP];
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error().is_some_and(|errno| NOT_HERE.contains(&errno)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let patience = TimeVal::milliseconds(i64::try_from(PATIENCE.as_millis()).unwrap_or(1000));
    // SAFETY: the socket is open for as long as this call borrows its descriptor.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    setsockopt(&fd, ReceiveTimeout, &patience)?;
    Ok(socket)
}

/// Families have no fixed numbers.
fn family(socket: &Socket) -> io::Result<u16> {
    let name = GenlCtrlAttrs::FamilyName("wireguard".to_owned());
    let request = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] };
    send(socket, GenlMessage::from_payload(request), NLM_F_REQUEST)?;
    let mut number = None;
    receive(socket, |answer: GenlCtrl| {
        for attribute in answer.nlas {
            if let GenlCtrlAttrs::FamilyId(value) = attribute {
                number = Some(value);
            }
        }
    })?;
    number.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

fn device(socket: &Socket, family: u16, interface: &str) -> io::Result<Vec<Peer>> {
    let attributes = vec![WireguardAttribute::IfName(interface.to_owned())];
    let request = WireguardMessage { cmd: WireguardCmd::GetDevice, attributes };
    let mut message = GenlMessage::from_payload(request);
    message.set_resolved_family_id(family);
    send(socket, message, NLM_F_REQUEST | NLM_F_DUMP)?;
    let mut peers = Vec::new();
    receive(socket, |part: WireguardMessage| {
        for attribute in part.attributes {
            if let WireguardAttribute::Peers(more) = attribute {
                more.into_iter().for_each(|peer| merge(&mut peers, read(peer)));
            }
        }
    })?;
    Ok(peers)
}

/// A peer with many prefixes comes in several parts, of which only the first is complete.
fn merge(peers: &mut Vec<Peer>, part: Peer) {
    match peers.last_mut() {
        Some(last) if last.key == part.key => {
            last.last_handshake = last.last_handshake.or(part.last_handshake);
            last.allowed_ips.extend(part.allowed_ips);
        }
        Some(_) | None => peers.push(part),
    }
}

fn read(peer: WireguardPeer) -> Peer {
    let mut read = Peer::default();
    for attribute in peer.0 {
        if let WireguardPeerAttribute::PublicKey(key) = attribute {
            read.key = key;
        } else if let WireguardPeerAttribute::LastHandshake(time) = attribute {
            read.last_handshake = u64::try_from(time.seconds).ok().filter(|time| *time != 0);
        } else if let WireguardPeerAttribute::AllowedIps(nets) = attribute {
            read.allowed_ips.extend(nets.iter().filter_map(net));
        }
    }
    read
}

fn net(allowed: &WireguardAllowedIp) -> Option<IpNet> {
    let (mut address, mut length) = (None, None);
    for attribute in &allowed.0 {
        if let WireguardAllowedIpAttr::IpAddr(value) = attribute {
            address = Some(*value);
        } else if let WireguardAllowedIpAttr::Cidr(value) = attribute {
            length = Some(*value);
        }
    }
    IpNet::new(address?, length?).ok()
}

fn send<F>(socket: &Socket, message: GenlMessage<F>, flags: u16) -> io::Result<()>
where
    GenlMessage<F>: netlink_packet_core::NetlinkSerializable + Into<NetlinkPayload<GenlMessage<F>>>,
{
    let mut message = NetlinkMessage::from(message);
    message.header.flags = flags;
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    socket.send(&octets, 0).map(drop)
}

/// Every part of an answer. A dump ends with a message of its own, other answers are one message.
fn receive<F>(socket: &Socket, mut take: impl FnMut(F)) -> io::Result<()>
where
    GenlMessage<F>: netlink_packet_core::NetlinkDeserializable,
    F: std::fmt::Debug,
{
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<GenlMessage<F>>::deserialize(rest)
                .map_err(|error| invalid(error.to_string()))?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            let several = message.header.flags & netlink_packet_core::NLM_F_MULTIPART != 0;
            if let NetlinkPayload::InnerMessage(message) = message.payload {
                take(message.into_parts().1);
            } else if let NetlinkPayload::Error(error) = message.payload {
                return if error.code.is_some() { Err(error.to_io()) } else { Ok(()) };
            } else if let NetlinkPayload::Done(done) = message.payload {
                let failed = done.code < 0;
                let error = || io::Error::from_raw_os_error(done.code.saturating_neg());
                return if failed { Err(error()) } else { Ok(()) };
            }
            if !several {
                return Ok(());
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_wireguard() {
        assert_eq!(peers("lo").unwrap(), None);
    }

    #[test]
    fn a_peer_in_parts_is_one() {
        let part = |key: u8, net: &str| Peer {
            key: [key; 32],
            last_handshake: (net == "::/1").then_some(5),
            allowed_ips: vec![net.parse().unwrap()],
        };
        let mut peers = Vec::new();
        for (key, net) in [(1, "::/1"), (1, "8000::/1"), (2, "10.0.0.0/8")] {
            merge(&mut peers, part(key, net));
        }
        assert_eq!(peers.len(), 2);
        assert_eq!(peers[0].allowed_ips.len(), 2);
        assert_eq!(peers[0].last_handshake, Some(5));
    }
}
