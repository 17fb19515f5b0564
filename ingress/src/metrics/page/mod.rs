//! `GET /`: how things are, for a browser. One document without scripts; it fetches nothing.

mod spark;

use std::{fmt::Write, time::Duration};

use crate::{
    cli::human,
    control::{Attachment, Drops, FlowTable, Interface, Reload, SiteStatus},
};

/// What is on the page.
#[derive(Clone, Debug)]
pub struct Page {
    /// For how long the daemon has run.
    pub uptime: Duration,
    /// The last attempt to change the configuration.
    pub last_reload: Reload,
    /// The side of the world.
    pub uplink: Interface,
    /// The homes.
    pub sites: Vec<SiteStatus>,
    /// How full the flow table is.
    pub flow_table: FlowTable,
    /// Flows by name, the most first.
    pub hosts: Vec<HostFlows>,
    /// What is drawn, the latest point last.
    pub series: Vec<Series>,
    /// Every drop reason with its count.
    pub drops: Drops,
    /// The latest first.
    pub refusals: Vec<Refused>,
}

/// The flows to one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFlows {
    /// The name that clients ask for.
    pub host: String,
    /// How many.
    pub flows: u64,
    /// Client to backend, of the flows that there are.
    pub bytes_in: u64,
    /// Backend to client.
    pub bytes_out: u64,
}

/// A line in a small picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the line shows.
    pub title: &'static str,
    /// What a point counts.
    pub unit: Unit,
    /// Per second, at equal distances.
    pub points: Vec<f64>,
}

/// What a point counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Octets.
    Bytes,
    /// Anything else.
    Events,
}

/// A name that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The name; none where there was none.
    pub name: Option<String>,
    /// The outcome, as metrics call it.
    pub outcome: &'static str,
    /// How often.
    pub count: u64,
    /// How long ago, the last time.
    pub ago: Duration,
}

const STYLE: &str = include_str!("page.css");
/// Rows of the longer tables.
const MOST: usize = 25;

impl Page {
    /// As HTML.
    #[must_use]
    pub fn html(&self) -> String {
        let mut html = String::with_capacity(16 * 1024);
        let _ = write!(
            html,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta http-equiv=\"refresh\" content=\"5\"><meta name=\"color-scheme\" content=\"light dark\">\
             <title>ingressd</title><style>{STYLE}</style></head><body>"
        );
        self.head(&mut html);
        self.pictures(&mut html);
        html += "<div class=\"columns\">";
        self.interfaces(&mut html);
        self.by_host(&mut html);
        self.refused(&mut html);
        self.dropped(&mut html);
        html += "</div><footer><a href=\"/metrics\">metrics</a></footer></body></html>\n";
        html
    }

    fn head(&self, html: &mut String) {
        let FlowTable { entries, max_entries } = self.flow_table;
        let _ = write!(
            html,
            "<header><h1>ingressd <small>{}</small></h1><dl>\
             <div><dt>up</dt><dd>{}</dd></div><div><dt>flows</dt><dd>{entries} <small>of {max_entries}</small></dd></div>",
            env!("CARGO_PKG_VERSION"),
            human::seconds(self.uptime.as_secs()),
        );
        let applied = human::ago(self.last_reload.timestamp_seconds);
        let _ = match &self.last_reload.error {
            None => write!(html, "<div><dt>configuration</dt><dd>applied {applied}</dd></div>"),
            Some(error) => write!(
                html,
                "<div class=\"bad\"><dt>configuration</dt><dd title=\"{}\">refused {applied}</dd></div>",
                escape(error)
            ),
        };
        *html += "</dl></header>";
    }

    fn pictures(&self, html: &mut String) {
        *html += "<section class=\"pictures\" aria-label=\"Rates of the last ten minutes\">";
        for series in &self.series {
            let last = series.points.last().copied().unwrap_or(0.0);
            let most = series.points.iter().copied().fold(0.0, f64::max);
            let _ = write!(
                html,
                "<figure><figcaption>{}<b>{}</b></figcaption>{}<small>at most {}</small></figure>",
                series.title,
                series.unit.rate(last),
                spark::line(&series.points),
                series.unit.rate(most),
            );
        }
        *html += "</section>";
    }

    fn interfaces(&self, html: &mut String) {
        let rows = self.sites.iter().map(|site| {
            let (class, heard) = match (site.wireguard, site.last_handshake_timestamp_seconds) {
                (true, None) => ("bad", "never".to_owned()),
                (false, None) => ("", "–".to_owned()),
                (_, Some(time)) => ("", human::ago(time)),
            };
            let prefixes: Vec<String> = site.prefixes.iter().map(ToString::to_string).collect();
            format!(
                "<tr><th scope=\"row\">{}</th>{}<td class=\"{class}\">{heard}</td><td>{}</td></tr>",
                escape(&site.name),
                device(&site.interface),
                prefixes.join("<br>"),
            )
        });
        let uplink = format!(
            "<tr><th scope=\"row\">uplink</th>{}<td></td><td></td></tr>",
            device(&self.uplink)
        );
        let rows = std::iter::once(uplink).chain(rows);
        table(html, "Sites", &["site", "interface", "heard of", "prefixes"], rows, "no sites");
    }

    fn by_host(&self, html: &mut String) {
        let rows = self.hosts.iter().take(MOST).map(|row| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escape(&row.host),
                row.flows,
                human::bytes(row.bytes_in),
                human::bytes(row.bytes_out),
            )
        });
        table(html, "Flows by name", &["name", "flows", "in", "out"], rows, "no flows");
    }

    fn refused(&self, html: &mut String) {
        let rows = self.refusals.iter().take(MOST).map(|row| {
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                row.name.as_deref().map_or("–".to_owned(), escape),
                row.outcome.replace('_', " "),
                row.count,
                human::seconds(row.ago.as_secs()),
            )
        });
        table(html, "Refused", &["name", "why", "times", "ago"], rows, "nothing was refused");
    }

    fn dropped(&self, html: &mut String) {
        let rows = self.drops.drops.iter().filter(|drop| drop.count > 0).map(|drop| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td>{}</td></tr>",
                drop.reason.replace('_', " "),
                drop.count,
                escape(&drop.description),
            )
        });
        table(html, "Dropped", &["reason", "packets", ""], rows, "nothing was dropped");
    }
}

impl Unit {
    fn rate(self, value: f64) -> String {
        match self {
            Self::Bytes => human::bytes(value as u64) + "/s",
            Self::Events => format!("{value:.1}/s"),
        }
    }
}

fn device(interface: &Interface) -> String {
    let Interface { name, mtu, attachment, .. } = interface;
    let name = escape(name);
    match (mtu, attachment) {
        (Some(mtu), Attachment::Tcx | Attachment::Clsact) => {
            format!("<td>{name} <small>{attachment}, MTU {mtu}</small></td>")
        }
        (Some(_), Attachment::None) => format!("<td class=\"bad\">{name} not attached</td>"),
        (None, _) => format!("<td class=\"bad\">{name} does not exist</td>"),
    }
}

fn table(
    html: &mut String,
    title: &str,
    header: &[&str],
    rows: impl Iterator<Item = String>,
    none: &str,
) {
    let _ = write!(html, "<section><h2>{title}</h2>");
    let rows: String = rows.collect();
    if rows.is_empty() {
        let _ = write!(html, "<p>{none}</p></section>");
        return;
    }
    let numbers = ["flows", "in", "out", "times", "ago", "packets"];
    *html += "<table><thead><tr>";
    for title in header {
        let class = if numbers.contains(title) { " class=\"n\"" } else { "" };
        let _ = write!(html, "<th{class}>{title}</th>");
    }
    let _ = write!(html, "</tr></thead><tbody>{rows}</tbody></table></section>");
}

/// Names come from strangers.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
