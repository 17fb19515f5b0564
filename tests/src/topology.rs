//! Builds the network of the lab.

use crate::addresses::{NAT46_PREFIX, RAW_CLIENT4, SITE_PREFIX, VPS4, WWW6};
use crate::cleanup::{self, Reaper};
use crate::impair::Wire;
use crate::netns::{Namespace, ip_batch};
use crate::process::{self, wait_until};
use crate::wireguard::{Keys, MTU, PORT, Tunnel};
use anyhow::{Context, Result, bail};
use nix::unistd::Uid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A network that stands until this is dropped, or its process ends.
///
/// Fields are dropped in order: the tunnels end before the namespaces go.
#[derive(Debug)]
pub struct Lab {
    id: String,
    dir: PathBuf,
    /// Dual-stack, somewhere in the internet.
    pub client: Namespace,
    /// The router between everybody.
    pub inet: Namespace,
    /// Where the daemon runs.
    pub vps: Namespace,
    /// The router at home.
    pub home: Namespace,
    /// The web server, in the LAN at home.
    pub www: Namespace,
    /// The database server, in the LAN at home.
    pub db: Namespace,
    /// The wires that can be impaired lead through here.
    pub wires: Namespace,
    vps_tunnel: Tunnel,
    home_tunnel: Tunnel,
    _reaper: Reaper,
    _alive: File,
}

impl Lab {
    /// Builds it; takes a second or two.
    pub fn new() -> Result<Self> {
        if !Uid::effective().is_root() {
            bail!("the lab makes network namespaces and loads BPF programs: run it as root");
        }
        cleanup::remove_stale();
        let id = cleanup::new_id();
        let dir = cleanup::directory(&id);
        let alive = cleanup::claim(&id)?;
        let reaper = Reaper::start(&id)?;
        mount_bpffs()?;

        let make = |role: &str| Namespace::create(&cleanup::namespace(&id, role));
        let (client, inet, vps) = (make("client")?, make("inet")?, make("vps")?);
        let (home, www, db) = (make("home")?, make("www")?, make("db")?);
        let wires = make("wires")?;
        let vps_tunnel = Tunnel::start(&vps, &cleanup::tunnel(&id, "v"), &dir)?;
        let home_tunnel = Tunnel::start(&home, &cleanup::tunnel(&id, "h"), &dir)?;
        let lab = Self {
            id,
            dir,
            client,
            inet,
            vps,
            home,
            www,
            db,
            wires,
            vps_tunnel,
            home_tunnel,
            _reaper: reaper,
            _alive: alive,
        };
        lab.wire()?;
        lab.vps_tunnel.wait()?;
        lab.home_tunnel.wait()?;
        lab.configure()?;
        // Last, since a handshake that finds no way is repeated only after five seconds.
        lab.connect_tunnel()?;
        lab.wait_for_tunnel()?;
        Ok(lab)
    }

    /// What tells this lab from others on the machine.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Logs, sockets, certificates: removed with the lab.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The VPS's end of the tunnel.
    #[must_use]
    pub fn tunnel(&self) -> &str {
        self.vps_tunnel.interface()
    }

    /// Removes the VPS's end of the tunnel, as `wg-quick down` does.
    pub fn remove_tunnel(&mut self) -> Result<()> {
        let interface = self.tunnel().to_owned();
        self.vps_tunnel.stop();
        wait_until(Duration::from_secs(5), "the tunnel goes", || {
            !self.vps.proc_net("dev").is_ok_and(|devices| devices.contains(&interface))
        })
    }

    /// Makes it again and waits until it carries packets.
    pub fn restore_tunnel(&mut self) -> Result<()> {
        self.remake_tunnel()?;
        self.wait_for_tunnel()
    }

    /// Makes it again. The interface has its name, and everything else anew.
    pub fn remake_tunnel(&mut self) -> Result<()> {
        self.vps_tunnel.restart(&self.dir)?;
        self.vps_tunnel.wait()?;
        self.set_up_tunnel()?;
        self.vps_tunnel.configure_again(&self.dir)?;
        self.home_tunnel.configure_again(&self.dir)
    }

    /// Gives home another address of its provider's, 203.0.113.2 at first.
    pub fn move_home(&self, address: &str) -> Result<()> {
        self.home.ip(&format!(
            "addr flush dev isp scope global to 203.0.113.0/24\n\
             addr add {address}/24 dev isp\n\
             route replace default via 203.0.113.1\n"
        ))
    }

    /// Gives it the first one again, and has it speak up at once.
    pub fn return_home(&self) -> Result<()> {
        self.move_home("203.0.113.2")?;
        self.home_tunnel.configure_again(&self.dir)?;
        self.wait_for_tunnel()
    }

    /// Where the VPS's end of the tunnel sends to.
    pub fn home_endpoint(&self) -> Result<String> {
        process::output(self.vps.command("wg")?.args(["show", self.tunnel(), "endpoints"]))
    }

    /// Gives the VPS's uplink what a boot gives it. An interface that was down has lost most of it.
    pub fn set_up_uplink(&self) -> Result<()> {
        self.vps.ip("addr replace 198.51.100.2/24 dev eth0\n\
             link set eth0 up\n\
             addr replace 2001:db8:f::2/64 dev eth0 nodad\n\
             route replace default via 198.51.100.1\n\
             route replace ::/0 via 2001:db8:f::1\n")
    }

    /// Its namespaces, from left to right.
    #[must_use]
    pub fn namespaces(&self) -> [&Namespace; 6] {
        [&self.client, &self.inet, &self.vps, &self.home, &self.www, &self.db]
    }

    /// The Ethernet address of an interface.
    pub fn mac(&self, namespace: &Namespace, interface: &str) -> Result<String> {
        let mut ip = Command::new("ip");
        ip.args(["-netns", namespace.name(), "-brief", "link", "show", "dev", interface]);
        let line = process::output(&mut ip)?;
        let mac = line.split_whitespace().nth(2).context("no MAC address")?;
        Ok(mac.to_owned())
    }

    fn wire(&self) -> Result<()> {
        let Self { client, inet, vps, home, www, db, wires, .. } = self;
        let mut script = String::new();
        for (a, a_interface, b, b_interface) in [
            (client, "eth0", wires, "client0"),
            (wires, "client1", inet, "client"),
            (vps, "eth0", inet, "vps"),
            (home, "isp", wires, "home0"),
            (wires, "home1", inet, "home"),
            (www, "eth0", home, "www"),
            (db, "eth0", home, "db"),
        ] {
            let (a, b) = (a.name(), b.name());
            script += &format!(
                "link add name {a_interface} netns {a} type veth peer name {b_interface} netns {b}\n"
            );
        }
        ip_batch(None, &script)
    }

    /// Only home knows where the other end is, as with any home behind a dynamic address.
    fn connect_tunnel(&self) -> Result<()> {
        let (vps, home) = (Keys::generate()?, Keys::generate()?);
        self.vps_tunnel.configure(
            &self.dir,
            &format!(
                "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n\
                 [Peer]\nPublicKey = {}\nAllowedIPs = {SITE_PREFIX}\n",
                vps.private, home.public
            ),
        )?;
        self.home_tunnel.configure(
            &self.dir,
            &format!(
                "[Interface]\nPrivateKey = {}\n\
                 [Peer]\nPublicKey = {}\nAllowedIPs = ::/0\nEndpoint = {VPS4}:{PORT}\n\
                 PersistentKeepalive = 25\n",
                home.private, vps.public
            ),
        )
    }

    fn configure(&self) -> Result<()> {
        self.wires.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
        for wire in Wire::ALL {
            let [bridge, a, b] = wire.interfaces();
            self.wires.ip(&format!(
                "link add name {bridge} type bridge\n\
                 link set {a} master {bridge} up\n\
                 link set {b} master {bridge} up\n\
                 link set {bridge} up\n"
            ))?;
        }
        for router in [&self.inet, &self.vps, &self.home] {
            router.sysctl("ipv4/ip_forward", "1")?;
            router.sysctl("ipv6/conf/all/forwarding", "1")?;
        }
        self.client.ip("addr add 192.0.2.2/24 dev eth0\n\
             addr add 2001:db8:c::2/64 dev eth0 nodad\n\
             link set eth0 up\n\
             route add default via 192.0.2.1\n\
             route add ::/0 via 2001:db8:c::1\n")?;
        self.inet.ip("addr add 192.0.2.1/24 dev client\n\
             addr add 2001:db8:c::1/64 dev client nodad\n\
             addr add 198.51.100.1/24 dev vps\n\
             addr add 2001:db8:f::1/64 dev vps nodad\n\
             addr add 203.0.113.1/24 dev home\n\
             addr add 2001:db8:e::1/64 dev home nodad\n\
             link set client up\n\
             link set vps up\n\
             link set home up\n\
             route add 2001:db8:1::/64 via 2001:db8:f::2\n")?;
        self.know_raw_client()?;
        self.set_up_uplink()?;
        self.vps.ip("route add unreachable 2001:db8:1::/64\n")?;
        self.set_up_tunnel()?;
        let tunnel = self.home_tunnel.interface();
        // What comes from the servers leaves by the tunnel, and so do the router's own words to IPv4 clients (ICMP);
        // everything else by the ISP.
        self.home.ip(&format!(
            "link add name lan type bridge\n\
             link set www master lan up\n\
             link set db master lan up\n\
             addr add 2001:db8:1:0:1::1/80 dev lan nodad\n\
             link set lan up\n\
             addr add 203.0.113.2/24 dev isp\n\
             addr add 2001:db8:e::2/64 dev isp nodad\n\
             link set isp up\n\
             link set {tunnel} mtu {MTU} up\n\
             route add default via 203.0.113.1\n\
             route add ::/0 via 2001:db8:e::1\n\
             route add {NAT46_PREFIX} dev {tunnel} src 2001:db8:1:0:1::1\n\
             route add {SITE_PREFIX} dev lan table 100\n\
             route add ::/0 dev {tunnel} table 100\n"
        ))?;
        // `ip rule` does not see by itself that this is IPv6.
        let mut rule = Command::new("ip");
        rule.args(["-netns", self.home.name(), "-6"]);
        process::output(rule.args(["rule", "add", "from", SITE_PREFIX, "lookup", "100"]))?;
        for (server, address) in [(&self.www, "80"), (&self.db, "81")] {
            server.ip(&format!(
                "addr add 2001:db8:1:0:1::{address}/80 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add ::/0 via 2001:db8:1:0:1::1\n"
            ))?;
        }
        Ok(())
    }

    fn set_up_tunnel(&self) -> Result<()> {
        let tunnel = self.tunnel();
        self.vps
            .ip(&format!("link set {tunnel} mtu {MTU} up\nroute add {SITE_PREFIX} dev {tunnel}\n"))
    }

    /// The router is told where the raw client lives, since no kernel answers ARP for it.
    fn know_raw_client(&self) -> Result<()> {
        let mac = self.mac(&self.client, "eth0")?;
        self.inet.ip(&format!("neigh add {RAW_CLIENT4} lladdr {mac} dev client nud permanent\n"))
    }

    /// Tells both ends of a wire the other's Ethernet address: a bad wire may lose every question for it.
    pub fn introduce(&self, wire: Wire) -> Result<()> {
        let (machine, port, router_port, net4, net6) = match wire {
            Wire::Client => (&self.client, "eth0", "client", "192.0.2", "2001:db8:c:"),
            Wire::Home => (&self.home, "isp", "home", "203.0.113", "2001:db8:e:"),
        };
        let (own, routers) = (self.mac(machine, port)?, self.mac(&self.inet, router_port)?);
        let know = |here: &Namespace, device, host, mac| {
            here.ip(&format!(
                "neigh replace {net4}.{host} lladdr {mac} dev {device} nud permanent\n\
                 neigh replace {net6}:{host} lladdr {mac} dev {device} nud permanent\n"
            ))
        };
        know(machine, port, 1, routers)?;
        know(&self.inet, router_port, 2, own)
    }

    /// Waits until the web server reaches the world through it.
    pub fn wait_for_tunnel(&self) -> Result<()> {
        let target = WWW6.to_string();
        wait_until(Duration::from_secs(10), "the tunnel comes up", || {
            // From home's side, since only home can begin.
            self.www.command("ping").is_ok_and(|mut ping| {
                ping.args(["-6", "-c1", "-W1", "-q", "2001:db8:c::2"]);
                process::output(&mut ping).is_ok()
            })
        })
        .with_context(|| format!("no way from {target} through the tunnel"))
    }
}

/// Some minimal systems do not mount it.
fn mount_bpffs() -> Result<()> {
    let target = "/sys/fs/bpf";
    let mounts = fs::read_to_string("/proc/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some(target)) {
        return Ok(());
    }
    process::output(Command::new("mount").args(["-t", "bpf", "bpf", target]))?;
    Ok(())
}
