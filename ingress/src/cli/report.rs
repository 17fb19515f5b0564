//! The daemon's answers as tables.

use std::time::Duration;

use ingress_common::heartbeat;
use serde::Serialize;

use super::{
    Report, human,
    sheet::{Sheet, Style, bad, good, number, pending, text},
};
use crate::config::Ipv6Policy;
use crate::control::{
    Attachment, Count, Dns, Drops, Explanation, Interface, Listener, PolicyStatus, Promised,
    Reload, SiteStatus, Stats, Status,
};

/// The silence after which the programs take the daemon for gone, in seconds.
const HEARTBEAT_LIMIT: f64 = Duration::from_nanos(heartbeat::LIMIT).as_secs_f64();

#[derive(Serialize)]
pub(super) struct Killed {
    pub flows: u64,
}

#[derive(Serialize)]
pub(super) struct Flushed {
    pub names: u64,
}

#[derive(Serialize)]
pub(super) struct Reloaded<'a> {
    pub changes: &'a [String],
}

impl Report for Killed {
    fn table(&self, _: Style) -> String {
        format!("{} ended\n", counted(self.flows, "flow"))
    }
}

impl Report for Flushed {
    fn table(&self, _: Style) -> String {
        format!("{} forgotten\n", counted(self.names, "name"))
    }
}

impl Report for Reloaded<'_> {
    fn table(&self, _: Style) -> String {
        if self.changes.is_empty() {
            return "nothing changed\n".to_owned();
        }
        self.changes.iter().map(|change| format!("{change}\n")).collect()
    }
}

impl Report for Status {
    fn table(&self, style: Style) -> String {
        let mut sheet = Sheet::new(style);
        let uptime = human::seconds(self.uptime_seconds);
        let daemon = format!("{}, pid {}, up {uptime}", self.version, self.pid);
        sheet.row([text("ingressd"), good(daemon)]);
        sheet.row([text("config"), text(self.config.display())]);
        let Reload { timestamp_seconds, error } = &self.last_reload;
        let when = human::ago(*timestamp_seconds);
        sheet.row([
            text("applied"),
            match error {
                None => good(when),
                Some(error) => bad(format!("refused {when}, the one before is in force: {error}")),
            },
        ]);
        sheet.row([text("uplink"), interface(&self.uplink)]);
        let shield = self.shield.as_str();
        sheet.row([
            text("shield"),
            if self.native_is_lost {
                bad(format!(
                    "{shield}: what it answers in native mode does not get out by the uplink"
                ))
            } else {
                text(shield)
            },
        ]);
        sheet.row([text("nat46"), text(self.nat46_prefix)]);
        for listener in &self.listen {
            sheet.row([text("listen"), listen_row(listener)]);
        }
        sheet.row([text("policy"), text(policy_row(&self.policy))]);
        let table = &self.flow_table;
        let flows = format!(
            "{} of {}, {} in progress",
            table.entries,
            table.max_entries,
            counted(self.handshakes_in_progress, "handshake")
        );
        let full = table.entries * 10 >= table.max_entries * 9;
        sheet.row([text("flows"), if full { bad(flows) } else { text(flows) }]);
        let heartbeat = format!("{:.1}s ago", self.heartbeat_age_seconds);
        let late = self.heartbeat_age_seconds > HEARTBEAT_LIMIT;
        sheet.row([text("heartbeat"), if late { bad(heartbeat) } else { text(heartbeat) }]);
        format!("{}\n{}", sheet.finish(), sites(&self.sites, style))
    }
}

fn policy_row(policy: &PolicyStatus) -> String {
    let PolicyStatus { ipv6, allow, deny_clients, allow_clients, deny_names, allow_names } =
        *policy;
    let rules = counted(allow as u64, "rule");
    let mut row = match ipv6 {
        Ipv6Policy::Open => "IPv6 is open".to_owned(),
        Ipv6Policy::Closed => format!("IPv6 is closed but for {rules} and answers"),
    };
    for (what, denied, allowed) in
        [("clients", deny_clients, allow_clients), ("names", deny_names, allow_names)]
    {
        if denied > 0 {
            row += &format!(", {denied} {what} denied");
        }
        if allowed > 0 {
            row += &format!(", only {allowed} {what} allowed");
        }
    }
    row
}

fn listen_row(listener: &Listener) -> comfy_table::Cell {
    let Listener { address, protocol, timestamps, sack, mss, mss_lowered } = listener;
    let lacking: Vec<&str> = [("timestamps", timestamps), ("SACK", sack)]
        .into_iter()
        .filter(|(_, promised)| **promised == Promised::Withdrawn)
        .map(|(what, _)| what)
        .collect();
    let mut row = format!("{address} {protocol}");
    if *mss_lowered {
        row += &format!(", segments of {mss} octets: a backend takes no more");
    }
    match lacking.join(" and ") {
        none if none.is_empty() => text(row),
        what => pending(format!("{row}, no {what}: a backend lacks it; reload tries again")),
    }
}

fn sites(sites: &[SiteStatus], style: Style) -> String {
    let mut sheet = Sheet::headed(style, ["SITE", "TUNNEL", "LAST HANDSHAKE", "PREFIXES"]);
    for site in sites {
        let prefixes: Vec<String> = site.prefixes.iter().map(ToString::to_string).collect();
        let handshake = match (site.wireguard, site.last_handshake_timestamp_seconds) {
            (true, None) => bad("never"),
            (false, None) => text("-"),
            (_, Some(time)) => text(human::ago(time)),
        };
        sheet.row([
            text(&site.name),
            interface(&site.interface),
            handshake,
            text(prefixes.join(" ")),
        ]);
    }
    sheet.finish()
}

fn interface(interface: &Interface) -> comfy_table::Cell {
    let Interface { name, index, mtu, attachment } = interface;
    let (Some(index), Some(mtu)) = (index, mtu) else {
        return bad(format!("{name} does not exist"));
    };
    let description = format!("{name} (index {index}, MTU {mtu}, {attachment})");
    match attachment {
        Attachment::Tcx | Attachment::Clsact => good(description),
        Attachment::None => bad(description),
    }
}

impl Report for Stats {
    fn table(&self, style: Style) -> String {
        let mut traffic = Sheet::headed(style, ["PATH", "DIRECTION", "PACKETS", "BYTES"]);
        for row in &self.traffic {
            traffic.row([
                text(row.path.as_str()),
                text(row.direction.as_str()),
                number(row.packets),
                number(human::bytes(row.bytes)),
            ]);
        }
        let mut counters = Sheet::headed(style, ["COUNTER", "WHAT", "COUNT"]);
        counters.row([text("flows opened"), text(""), number(self.flows_opened)]);
        for (counter, counts) in [
            ("flows closed", &self.flows_closed),
            ("syn cookies", &self.syn_cookies),
            ("handshakes", &self.handshakes),
            ("dns lookups", &self.dns_lookups),
        ] {
            for Count { name, count } in counts {
                counters.row([text(counter), text(name), number(count)]);
            }
        }
        format!("{}\n{}", traffic.finish(), counters.finish())
    }
}

impl Report for Drops {
    fn table(&self, style: Style) -> String {
        let mut sheet = Sheet::headed(style, ["REASON", "COUNT", "DESCRIPTION"]);
        for drop in &self.drops {
            let reason = if drop.count > 0 { pending(&drop.reason) } else { text(&drop.reason) };
            sheet.row([reason, number(drop.count), text(&drop.description)]);
        }
        sheet.finish()
    }

    fn rows(&self) -> serde_json::Result<Vec<String>> {
        self.drops.iter().map(serde_json::to_string).collect()
    }
}

impl Report for Dns {
    fn table(&self, style: Style) -> String {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        let mut sheet = Sheet::headed(style, ["NAME", "SOURCE", "TTL", "ADDRESSES"]);
        for name in &self.names {
            let addresses: Vec<String> = name.addresses.iter().map(ToString::to_string).collect();
            sheet.row([
                text(&name.name),
                text(name.source.as_str()),
                number(name.ttl_seconds.map_or_else(|| "-".to_owned(), human::seconds)),
                match &name.error {
                    None => text(addresses.join(" ")),
                    Some(error) => bad(error),
                },
            ]);
        }
        let servers = if servers.is_empty() { "none".to_owned() } else { servers.join(" ") };
        format!("servers: {servers}\n\n{}", sheet.finish())
    }

    fn rows(&self) -> serde_json::Result<Vec<String>> {
        self.names.iter().map(serde_json::to_string).collect()
    }
}

impl Report for Explanation {
    fn table(&self, style: Style) -> String {
        let mut sheet = Sheet::new(style);
        for step in &self.steps {
            let mark = if step.ok { good("ok") } else { bad("FAIL") };
            sheet.row([mark, text(&step.what), text(&step.outcome)]);
        }
        sheet.finish()
    }

    fn rows(&self) -> serde_json::Result<Vec<String>> {
        self.steps.iter().map(serde_json::to_string).collect()
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
