//! Two more sites, behind devices with Ethernet headers: the office behind a veth and a router, the branch
//! behind a VXLAN through the internet.
//!
//! ```text
//!   vps ── office0 ── router ── office        vps ══ vx0.5 (VXLAN by way of inet) ══ branch
//! ```

use crate::addresses::{
    BRANCH, BRANCH_PREFIX, BRANCH6, OFFICE, OFFICE_PREFIXES, OFFICE_TOO, OFFICE_TOO6, OFFICE6,
};
use crate::netns::{Namespace, ip_batch};
use crate::servers::{Certificate, Web};
use crate::topology::Lab;
use crate::{cleanup, daemon};
use anyhow::Result;

/// The VPS's end towards the office.
pub const OFFICE_INTERFACE: &str = "office0";
/// The VPS's end towards the branch; names with dots are common (VLANs have them).
pub const BRANCH_INTERFACE: &str = "vx0.5";

/// The sites, removed with their lab.
#[derive(Debug)]
pub struct Sites {
    /// The router between the VPS and the office.
    pub router: Namespace,
    /// The server behind it.
    pub office: Namespace,
    /// Router and server in one.
    pub branch: Namespace,
    /// On [`Self::office`].
    pub office_web: Web,
    /// On [`Self::branch`].
    pub branch_web: Web,
}

impl Sites {
    /// Adds them to a lab. The daemon is told by [`config`].
    pub fn add(lab: &Lab, certificate: &Certificate) -> Result<Self> {
        let make = |role: &str| Namespace::create(&cleanup::namespace(lab.id(), role));
        let (router, office, branch) = (make("router")?, make("office")?, make("branch")?);
        connect_office(lab, &router, &office)?;
        connect_branch(lab, &branch)?;
        let office_web = Web::start_on(lab, &office, OFFICE6, "nginx-office", certificate)?;
        let branch_web = Web::start_on(lab, &branch, BRANCH6, "nginx-branch", certificate)?;
        Ok(Self { router, office, branch, office_web, branch_web })
    }
}

/// The usual configuration with all three sites in it.
#[must_use]
pub fn config(lab: &Lab) -> String {
    let [office, office_too] = OFFICE_PREFIXES;
    let sites = format!(
        r#"[[site]]
name = "office"
interface = "{OFFICE_INTERFACE}"
prefixes = ["{office}", "{office_too}"]

[[site]]
name = "branch"
interface = "{BRANCH_INTERFACE}"
prefixes = ["{BRANCH_PREFIX}"]

[nat46]"#
    );
    let hosts = format!(
        r#"[hosts]
"{OFFICE}" = "{OFFICE6}"
"{OFFICE_TOO}" = "{OFFICE_TOO6}"
"{BRANCH}" = "{BRANCH6}""#
    );
    daemon::config(lab).replace("[nat46]", &sites).replace("[hosts]", &hosts)
}

fn connect_office(lab: &Lab, router: &Namespace, office: &Namespace) -> Result<()> {
    let (r, o, vps) = (router.name(), office.name(), lab.vps.name());
    ip_batch(
        None,
        &format!(
            "link add name {OFFICE_INTERFACE} netns {vps} type veth peer name vps netns {r}\n\
             link add name lan netns {r} type veth peer name eth0 netns {o}\n"
        ),
    )?;
    router.sysctl("ipv6/conf/all/forwarding", "1")?;
    let [first, second] = OFFICE_PREFIXES;
    lab.vps.ip(&format!(
        "addr add fd00:5::1/64 dev {OFFICE_INTERFACE} nodad\n\
         link set {OFFICE_INTERFACE} up\n\
         route add {first} via fd00:5::2\n\
         route add {second} via fd00:5::2\n"
    ))?;
    router.ip("addr add fd00:5::2/64 dev vps nodad\n\
         addr add 2001:db8:1:0:2::1/80 dev lan nodad\n\
         addr add 2001:db8:1:0:3::1/80 dev lan nodad\n\
         link set vps up\n\
         link set lan up\n\
         route add ::/0 via fd00:5::1\n")?;
    office.ip(&format!(
        "addr add {OFFICE6}/80 dev eth0 nodad\n\
         addr add {OFFICE_TOO6}/80 dev eth0 nodad\n\
         link set eth0 up\n\
         route add ::/0 via 2001:db8:1:0:2::1 src {OFFICE6}\n"
    ))
}

fn connect_branch(lab: &Lab, branch: &Namespace) -> Result<()> {
    let (b, inet) = (branch.name(), lab.inet.name());
    ip_batch(
        None,
        &format!("link add name isp netns {b} type veth peer name branch netns {inet}\n"),
    )?;
    lab.inet.ip("addr add 203.0.114.1/24 dev branch\nlink set branch up\n")?;
    branch.ip(&format!(
        "addr add 203.0.114.2/24 dev isp\n\
         link set isp up\n\
         route add default via 203.0.114.1\n\
         link add vx0 mtu 1450 type vxlan id 5 local 203.0.114.2 remote 198.51.100.2 dstport 4789\n\
         addr add fd00:4::2/64 dev vx0 nodad\n\
         link set vx0 up\n\
         addr add {BRANCH6}/128 dev lo nodad\n\
         route add ::/0 via fd00:4::1 src {BRANCH6}\n"
    ))?;
    lab.vps.ip(&format!(
        "link add {BRANCH_INTERFACE} mtu 1450 type vxlan id 5 local 198.51.100.2 remote 203.0.114.2 \
         dstport 4789\n\
         addr add fd00:4::1/64 dev {BRANCH_INTERFACE} nodad\n\
         link set {BRANCH_INTERFACE} up\n\
         route add {BRANCH_PREFIX} via fd00:4::2\n"
    ))
}
