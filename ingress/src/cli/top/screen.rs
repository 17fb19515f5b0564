//! The view on a screen of any size; 80 columns are enough.

use std::collections::VecDeque;

use ratatui::{
    buffer::Buffer,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style as Look},
    text::{Line, Span},
    widgets::{Paragraph, Row, Sparkline, Table, Widget},
};

use super::{
    super::{human, sheet::Style},
    rates::{Counted, Rate, Traffic, View},
};
use crate::control::{Attachment, FlowState, Path};

/// Everything that is shown.
pub(super) struct Screen<'a> {
    pub view: &'a View,
    pub history: &'a VecDeque<u64>,
    pub style: Style,
    /// What else there is to say.
    pub note: &'a str,
}

const RATE: Constraint = Constraint::Length(10);

impl Screen<'_> {
    /// The same as text, for what is no terminal.
    pub fn text(&self, width: u16, height: u16) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        self.draw(area, &mut buffer);
        let line = |y| {
            let cells = (0..width).map(|x| buffer[(x, y)].symbol());
            cells.collect::<String>().trim_end().to_owned()
        };
        let text = (0..height).map(line).collect::<Vec<_>>().join("\n");
        text.trim_end().to_owned() + "\n\n"
    }

    pub fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let rows = |len: usize, most: u16| u16::try_from(len).unwrap_or(most).min(most) + 2;
        let counts = self.view.handshakes.len().max(self.view.drops.len());
        let room = area.height;
        let [head, traffic, sites, hosts, flows, counters, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(3),
            Constraint::Length(rows(self.view.sites.len(), room / 6)),
            Constraint::Length(rows(self.view.hosts.len().max(1), room / 5)),
            Constraint::Min(3),
            Constraint::Length(rows(counts.max(1), room / 5)),
            Constraint::Length(1),
        ])
        .areas(area);
        self.head(head, buffer);
        self.traffic(traffic, buffer);
        self.sites(sites, buffer);
        self.hosts(hosts, buffer);
        self.flows(flows, buffer);
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)])
                .spacing(2)
                .areas(counters);
        self.counts("HANDSHAKE", &self.view.handshakes, left, buffer);
        self.counts("DROPPED", &self.view.drops, right, buffer);
        let keys = Line::from(Span::styled("q quit  p pause", self.look(Color::DarkGray)));
        keys.render(foot, buffer);
    }

    fn head(&self, area: Rect, buffer: &mut Buffer) {
        let View { ingressd_version, uptime_seconds, flow_table, .. } = self.view;
        let left = format!("ingressd {ingressd_version}, up {}", human::seconds(*uptime_seconds));
        let right = format!(
            "{} of {} flows, {} shaking hands",
            flow_table.entries, flow_table.max_entries, self.view.handshakes_in_progress
        );
        Line::from(left).style(self.bold()).render(area, buffer);
        Line::from(right).alignment(Alignment::Right).render(area, buffer);
    }

    fn traffic(&self, area: Rect, buffer: &mut Buffer) {
        let [table, graph] =
            Layout::horizontal([Constraint::Length(54), Constraint::Min(0)]).spacing(2).areas(area);
        let header = ["PATH", "IN", "", "OUT", ""];
        let rows = [Path::Ipv6, Path::Nat46].map(|path| {
            let mut cells = vec![cell(path.as_str())];
            for row in self.view.traffic.iter().filter(|row| row.path == path) {
                let Traffic { packets_per_second, bytes_per_second, .. } = row;
                cells.push(right(speed(*bytes_per_second)));
                cells.push(right(format!("{packets_per_second:.0} pkt/s")));
            }
            Row::new(cells)
        });
        let widths =
            [Constraint::Length(6), RATE, Constraint::Length(13), RATE, Constraint::Length(12)];
        Widget::render(self.table(header, rows, widths), table, buffer);
        let skip = self.history.len().saturating_sub(usize::from(graph.width));
        let shown: Vec<u64> = self.history.iter().skip(skip).copied().collect();
        Sparkline::default().data(&shown).style(self.look(Color::Cyan)).render(graph, buffer);
        if !self.note.is_empty() {
            let note = Paragraph::new(self.note).style(self.look(Color::Red));
            note.render(graph, buffer);
        }
    }

    fn sites(&self, area: Rect, buffer: &mut Buffer) {
        let rows = self.view.sites.iter().map(|site| {
            let status = &site.status;
            let interface = &status.interface;
            let (what, look) = match interface.attachment {
                Attachment::Tcx | Attachment::Clsact => (interface.name.clone(), Look::new()),
                Attachment::None => (format!("{}!", interface.name), self.look(Color::Red)),
            };
            let heard = match (status.wireguard, status.last_handshake_timestamp_seconds) {
                (true, None) => "never".to_owned(),
                (false, None) => "-".to_owned(),
                (_, Some(time)) => human::ago(time),
            };
            let [into, out] = speeds(site.rate);
            Row::new([cell(&status.name), cell(what), cell(heard), right(site.flows), into, out])
                .style(look)
        });
        let widths = [
            Constraint::Min(12),
            Constraint::Length(16),
            Constraint::Length(14),
            Constraint::Length(8),
            RATE,
            RATE,
        ];
        let header = ["SITE", "TUNNEL", "HEARD OF", "FLOWS", "IN", "OUT"];
        Widget::render(self.table(header, rows, widths), area, buffer);
    }

    fn hosts(&self, area: Rect, buffer: &mut Buffer) {
        let rows = self.view.hosts.iter().map(|host| {
            let [into, out] = speeds(host.rate);
            let name = host.host.as_deref().unwrap_or("-");
            Row::new([cell(name), right(host.flows), into, out])
        });
        let widths = [Constraint::Min(20), Constraint::Length(8), RATE, RATE];
        let header = ["HOST", "FLOWS", "IN", "OUT"];
        Widget::render(self.table(header, rows, widths), area, buffer);
    }

    fn flows(&self, area: Rect, buffer: &mut Buffer) {
        let rows = self.view.flows.iter().map(|busy| {
            let flow = &busy.flow;
            let look = match flow.state {
                FlowState::Handshake => self.look(Color::Yellow),
                FlowState::Established => Look::new(),
                FlowState::Closing => self.look(Color::DarkGray),
            };
            let [into, out] = speeds(busy.rate);
            let host = flow.host.as_deref().unwrap_or("-");
            let age = human::seconds(flow.age_seconds);
            Row::new([cell(flow.client), cell(host), right(age), into, out]).style(look)
        });
        let widths =
            [Constraint::Length(21), Constraint::Min(16), Constraint::Length(7), RATE, RATE];
        let header = ["CLIENT", "HOST", "AGE", "IN", "OUT"];
        Widget::render(self.table(header, rows, widths), area, buffer);
    }

    fn counts(&self, title: &str, counts: &[Counted], area: Rect, buffer: &mut Buffer) {
        let rows = counts.iter().map(|row| {
            let rate = format!("{:.1}/s", row.per_second);
            Row::new([cell(&row.name), right(row.count), right(rate)])
        });
        let widths = [Constraint::Min(16), Constraint::Length(9), Constraint::Length(9)];
        Widget::render(self.table([title, "COUNT", "RATE"], rows, widths), area, buffer);
    }

    fn table<'t, const N: usize>(
        &self,
        header: [&'t str; N],
        rows: impl IntoIterator<Item = Row<'t>>,
        widths: [Constraint; N],
    ) -> Table<'t> {
        // Numbers are at the right, and so are their titles.
        let title = |title: &'t str| {
            let numeric = ["IN", "OUT", "FLOWS", "AGE", "COUNT", "RATE"].contains(&title);
            let side = if numeric { Alignment::Right } else { Alignment::Left };
            Line::from(title).alignment(side)
        };
        Table::new(rows, widths)
            .header(Row::new(header.map(title)).style(self.bold()))
            .column_spacing(1)
    }

    fn bold(&self) -> Look {
        match self.style {
            Style::Plain => Look::new(),
            Style::Coloured => Look::new().add_modifier(Modifier::BOLD),
        }
    }

    fn look(&self, colour: Color) -> Look {
        match self.style {
            Style::Plain => Look::new(),
            Style::Coloured => Look::new().fg(colour),
        }
    }
}

fn cell(content: impl ToString) -> Line<'static> {
    Line::from(content.to_string())
}

fn right(content: impl ToString) -> Line<'static> {
    Line::from(content.to_string()).alignment(Alignment::Right)
}

fn speeds(rate: Rate) -> [Line<'static>; 2] {
    [rate.bytes_in_per_second, rate.bytes_out_per_second].map(|bytes| right(speed(bytes)))
}

fn speed(bytes: f64) -> String {
    human::bytes(bytes as u64) + "/s"
}
