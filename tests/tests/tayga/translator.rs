//! Tayga in a namespace of its own, with one end of its device in our hands.

use anyhow::{Context, Result, bail};
use ingress_tests::netns::Namespace;
use ingress_tests::process::{Process, wait_until};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::{MTUS, PREFIX, ROUTER6};
use ingress_tests::golden::frame::Tcp;
use ingress_tests::golden::place::{self, BACKEND, LISTEN};

const DEVICE: &str = "nat64";
const MARKER: &[u8] = b"no more of the former";

/// A running Tayga, which knows the flow's addresses.
pub struct Tayga {
    socket: OwnedFd,
    index: u32,
    process: Process,
    directory: PathBuf,
    _namespace: Namespace,
}

impl Tayga {
    /// Starts one.
    pub fn start() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{:x}{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace::create(&format!("ing-{id}-tayga"))?;
        let directory = std::env::temp_dir().join(format!("ingress-tayga-{id}"));
        fs::create_dir_all(&directory)?;
        let config = directory.join("tayga.conf");
        fs::write(
            &config,
            format!(
                "tun-device {DEVICE}\nipv4-addr 192.0.0.1\nprefix {PREFIX}/96\n\
                 map {} {}\nmap 198.51.100.77 {ROUTER6}\ndata-dir {}\n",
                LISTEN.ip(),
                BACKEND.ip(),
                directory.display()
            ),
        )?;
        let tayga = |arguments: &[&str]| -> Result<_> {
            let mut command = namespace.command("tayga")?;
            command.arg("--config").arg(&config).args(arguments);
            Ok(command)
        };
        ingress_tests::process::output(&mut tayga(&["--mktun"])?)?;
        // What comes out of the device is for us alone.
        namespace.sysctl(&format!("ipv6/conf/{DEVICE}/disable_ipv6"), "1")?;
        namespace.ip(&format!("link set {DEVICE} mtu {} up\n", MTUS.uplink))?;
        let process = Process::spawn(&mut tayga(&["--nodetach"])?, &directory.join("log"))?;
        let (socket, index) = namespace.enter(|| -> Result<_> {
            let (family, kind) = (AddressFamily::Packet, SockType::Datagram);
            let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(3))?;
            Ok((socket, if_nametoindex(DEVICE)?))
        })??;
        let tayga = Self { socket, index, process, directory, _namespace: namespace };
        let packet = place::client_segment().over4(&place::from_client());
        let translates =
            || tayga.send(&packet).is_ok() && tayga.receive().is_some_and(|seen| seen[0] >> 4 == 6);
        wait_until(Duration::from_secs(5), "Tayga translates", translates)
            .with_context(|| tayga.process.log_tail())?;
        Ok(tayga)
    }

    /// What it makes of a packet; `None` if nothing.
    pub fn translate(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.send(packet).expect("send to Tayga");
        // It takes one after the other: with this it has done all that it will do about the former.
        let marker = Tcp { payload: MARKER.to_vec(), ..place::client_segment() };
        self.send(&marker.over4(&place::from_client())).expect("send to Tayga");
        let mut found = None;
        loop {
            let seen = self.receive().expect("Tayga is gone");
            let is_v4 = seen[0] >> 4 == 4;
            match seen.ends_with(MARKER) {
                true if is_v4 => {}
                true => return found,
                // What goes in is seen too.
                false if is_v4 == (packet[0] >> 4 == 4) => {}
                false => found = Some(seen),
            }
        }
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut octets = vec![0; 2000];
        loop {
            match recv(self.socket.as_raw_fd(), &mut octets, MsgFlags::empty()) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(len) => {
                    octets.truncate(len);
                    return Some(octets);
                }
                Err(Errno::EAGAIN) => return None,
                Err(error) => panic!("receive from Tayga: {error}"),
            }
        }
    }

    fn send(&self, packet: &[u8]) -> Result<()> {
        let kind = if packet[0] >> 4 == 4 { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
        // SAFETY: all zeroes is a valid sockaddr_ll.
        let mut device: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        device.sll_family = libc::AF_PACKET as u16;
        device.sll_protocol = (kind as u16).to_be();
        device.sll_ifindex = self.index.cast_signed();
        // SAFETY: the pointers and lengths are those of a slice and of a sockaddr_ll.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const device).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 {
            bail!(std::io::Error::last_os_error());
        }
        Ok(())
    }
}

impl Drop for Tayga {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
