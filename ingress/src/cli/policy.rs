//! `ingressctl policy connections`: what a closed policy remembers.

use super::{
    Report, human,
    sheet::{Sheet, Style, bad, good, number, pending, text},
};
use crate::control::{ConnectionState, Connections};

impl Report for Connections {
    fn table(&self, style: Style) -> String {
        if self.connections.is_empty() {
            return "no connections from inside are remembered\n".to_owned();
        }
        let mut sheet =
            Sheet::headed(style, ["PROTOCOL", "INSIDE", "OUTSIDE", "STATE", "IDLE", "LEFT"]);
        for one in &self.connections {
            sheet.row([
                text(protocol(one.protocol)),
                text(one.inside),
                text(one.outside),
                match one.state {
                    None => text("-"),
                    Some(state @ ConnectionState::Opening) => pending(state.as_str()),
                    Some(state @ ConnectionState::Established) => good(state.as_str()),
                    Some(state @ ConnectionState::Closing) => bad(state.as_str()),
                },
                number(human::seconds(one.idle_seconds)),
                number(human::seconds(one.left_seconds)),
            ]);
        }
        sheet.finish()
    }

    fn rows(&self) -> serde_json::Result<Vec<String>> {
        self.connections.iter().map(serde_json::to_string).collect()
    }
}

fn protocol(number: u8) -> String {
    match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    }
}
