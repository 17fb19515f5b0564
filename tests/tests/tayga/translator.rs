//! Tayga in a namespace of its own, with one end of its device in our hands.

use anyhow::{Context, Result};
use ingress_tests::cleanup::{self, Reaper};
use ingress_tests::netns::Namespace;
use ingress_tests::packet_socket::PacketSocket;
use ingress_tests::process::{Process, wait_until};
use std::fs::{self, File};
use std::time::Duration;

use crate::{MTUS, PREFIX, ROUTER6};
use ingress_tests::golden::frame::Tcp;
use ingress_tests::golden::place::{self, BACKEND, LISTEN};

const DEVICE: &str = "nat64";
const PATIENCE: Duration = Duration::from_secs(3);
const MARKER: &[u8] = b"no more of the former";

/// A running Tayga, which knows the flow's addresses.
pub struct Tayga {
    socket: PacketSocket,
    process: Process,
    _reaper: Reaper,
    _alive: File,
}

impl Tayga {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let id = cleanup::new_id();
        let directory = cleanup::directory(&id);
        let alive = cleanup::claim(&id)?;
        let reaper = Reaper::start(&id)?;
        let namespace = Namespace::create(&cleanup::namespace(&id, "tayga"))?;
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
        let socket = namespace.enter(|| PacketSocket::open(DEVICE, None))??;
        let tayga = Self { socket, process, _reaper: reaper, _alive: alive };
        let packet = place::client_segment().over4(&place::from_client());
        let translates = || {
            let seen = tayga.socket.send(&packet).and_then(|()| tayga.socket.receive(PATIENCE));
            matches!(seen, Ok(Some(seen)) if seen[0] >> 4 == 6)
        };
        wait_until(Duration::from_secs(5), "Tayga translates", translates)
            .with_context(|| tayga.process.log_tail())?;
        Ok(tayga)
    }

    /// What it makes of a packet; `None` if nothing.
    pub fn translate(&self, packet: &[u8]) -> Option<Vec<u8>> {
        self.socket.send(packet).expect("send to Tayga");
        // It takes one after the other: with this it has done all that it will do about the former.
        let marker = Tcp { payload: MARKER.to_vec(), ..place::client_segment() };
        self.socket.send(&marker.over4(&place::from_client())).expect("send to Tayga");
        let mut found = None;
        loop {
            let seen =
                self.socket.receive(PATIENCE).expect("receive from Tayga").expect("Tayga is gone");
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
}
