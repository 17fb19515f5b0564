//! The running ingressd, and the DNS servers that it asks.

use std::path::Path;

use super::{
    super::{Failure, human},
    Finding,
    host::Host,
    kernel,
};
use crate::{
    config::Config,
    control::{Attachment, CallError, Interface, Request, Response, Status, call},
    dns::{LookupError, Resolver},
};

/// RFC 6761: every server knows that it does not exist. Of `.invalid` the resolver itself knows, and asks nobody.
const NOWHERE: &str = "ingress-doctor.test";

pub(super) fn dns(config: &Config) -> Result<Finding, Failure> {
    const CHECK: &str = "dns";
    let nowhere = NOWHERE.parse().expect("it is a host name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (answer, servers) = runtime.block_on(async {
        let resolver = Resolver::new(&config.dns, &config.hosts);
        (resolver.lookup(&nowhere).await, resolver.servers())
    });
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let servers = servers.join(", ");
    Ok(match answer {
        Ok(_) | Err(LookupError::NotFound) => Finding::ok(CHECK, format!("{servers} answers")),
        Err(LookupError::Failed(reason)) => Finding::fail(
            CHECK,
            format!("{servers}: {reason}"),
            "name servers that answer in [dns] servers or in /etc/resolv.conf",
        ),
    })
}

pub(super) fn check(host: &Host, socket: &Path) -> Vec<Finding> {
    const CHECK: &str = "ingressd";
    match call(socket, &Request::Status) {
        Ok(Response::Status(status)) => running(host, &status),
        Ok(response) => {
            vec![Finding::fail(CHECK, format!("it answers {response:?}"), "restart it")]
        }
        Err(error) => {
            let remedy = match error {
                CallError::NotPermitted { .. } => "become root, or join the group `ingress`",
                CallError::NotReachable { .. } => "systemctl enable --now ingress",
                CallError::Silent { .. } | CallError::NoAnswer { .. } => {
                    "systemctl restart ingress"
                }
            };
            vec![Finding::fail(CHECK, error.to_string(), remedy)]
        }
    }
}

fn running(host: &Host, status: &Status) -> Vec<Finding> {
    let uptime = human::seconds(status.uptime_seconds);
    let mut findings =
        vec![Finding::ok("ingressd", format!("{} runs, up {uptime}", status.version))];
    if let Some(error) = &status.last_reload.error {
        findings.push(Finding::fail(
            "ingressd",
            format!("the configuration was refused: {error}"),
            "correct it, then `ingressctl reload`",
        ));
    }
    if status.native_is_lost {
        findings.push(Finding::warn(
            "shield",
            format!("what XDP sends in native mode does not get out by {}", status.uplink.name),
            "set `xdp = \"generic\"` or \"auto\" in [uplink]; native mode is tried again after a restart of ingressd",
        ));
    }
    let interfaces = status.sites.iter().map(|site| &site.interface).chain([&status.uplink]);
    findings.extend(interfaces.filter_map(attached));
    findings.extend(kernel::capabilities_of(host, status.pid));
    findings
}

fn attached(interface: &Interface) -> Option<Finding> {
    match interface.attachment {
        Attachment::Tcx | Attachment::Clsact => None,
        Attachment::None => Some(Finding::fail(
            "ingressd",
            format!("no program is attached to {}", interface.name),
            "see whether the interface exists, and what `journalctl -u ingress` says",
        )),
    }
}
