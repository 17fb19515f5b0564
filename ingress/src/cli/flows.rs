//! `ingressctl flows`: listed, watched, ended.

use std::{cmp::Reverse, thread, time::Duration};

use comfy_table::Cell;

use super::{
    Context, Failure, Report,
    args::{Flows as Args, FlowsAction, Sort},
    human,
    sheet::{Sheet, Style, bad, good, number, pending, text},
};
use crate::control::{Filter, Flow, FlowState, Flows, Request, Response, call};

pub(super) fn run(context: &Context<'_>, args: &Args) -> Result<(), Failure> {
    let filter = Filter::from(&args.select);
    if let Some(FlowsAction::Kill { all }) = &args.action {
        return kill(context, filter, *all);
    }
    let request = Request::Flows { filter };
    loop {
        let mut response = call(context.socket, &request)?;
        if let Response::Flows(flows) = &mut response {
            sort(&mut flows.flows, args.sort);
        }
        if args.watch.is_some() {
            context.clear()?;
        }
        context.show(&response)?;
        let Some(seconds) = args.watch else { return Ok(()) };
        thread::sleep(Duration::from_secs(seconds));
    }
}

fn kill(context: &Context<'_>, filter: Filter, all: bool) -> Result<(), Failure> {
    match (filter.is_empty(), all) {
        (true, false) => Err(Failure::usage(
            "say which flows to end, with --host, --client, --backend, --site or --state, or --all",
        )),
        (false, true) => Err(Failure::usage("--all and a filter contradict each other")),
        (false, false) if filter.state == Some(FlowState::Handshake) => Err(Failure::usage(
            "a handshake is no flow yet and ends by itself within seconds; a flow is established or closing",
        )),
        (true, true) | (false, false) => context.ask(&Request::Kill { filter }),
    }
}

fn sort(flows: &mut [Flow], by: Sort) {
    // The client makes the order of equals stable from one second to the next.
    flows.sort_by_key(|flow| flow.client);
    match by {
        Sort::Age => flows.sort_by_key(|flow| Reverse(flow.age_seconds)),
        Sort::Idle => flows.sort_by_key(|flow| Reverse(flow.idle_seconds)),
        Sort::Bytes => flows.sort_by_key(|flow| Reverse(flow.bytes_in + flow.bytes_out)),
        Sort::Packets => flows.sort_by_key(|flow| Reverse(flow.packets_in + flow.packets_out)),
        Sort::Host => flows.sort_by(|a, b| a.host.cmp(&b.host)),
        Sort::Client => {}
        Sort::Backend => flows.sort_by_key(|flow| flow.backend),
        Sort::Site => flows.sort_by(|a, b| a.site.cmp(&b.site)),
        Sort::State => flows.sort_by_key(|flow| flow.state),
    }
}

impl Report for Flows {
    fn table(&self, style: Style) -> String {
        if self.flows.is_empty() {
            return "no flows\n".to_owned();
        }
        let header =
            ["CLIENT", "LISTEN", "HOST", "BACKEND", "SITE", "STATE", "AGE", "IDLE", "IN", "OUT"];
        let mut sheet = Sheet::headed(style, header);
        for flow in &self.flows {
            let unknown = || "-".to_owned();
            sheet.row([
                text(flow.client),
                text(flow.listen),
                text(flow.host.clone().unwrap_or_else(unknown)),
                text(flow.backend.map_or_else(unknown, |backend| backend.to_string())),
                text(flow.site.clone().unwrap_or_else(unknown)),
                state(flow.state),
                number(human::seconds(flow.age_seconds)),
                number(human::seconds(flow.idle_seconds)),
                number(human::bytes(flow.bytes_in)),
                number(human::bytes(flow.bytes_out)),
            ]);
        }
        sheet.finish()
    }

    fn rows(&self) -> serde_json::Result<Vec<String>> {
        self.flows.iter().map(serde_json::to_string).collect()
    }
}

fn state(state: FlowState) -> Cell {
    match state {
        FlowState::Handshake => pending(state),
        FlowState::Established => good(state),
        FlowState::Closing => bad(state),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::flow, *};

    #[test]
    fn a_table_is_plain_and_aligned() {
        let mut flows = vec![
            flow("192.0.2.7:50000", None, 1, 0),
            flow("192.0.2.70:50001", Some("www.example.org"), 7300, 12_345_678),
        ];
        sort(&mut flows, Sort::Age);
        let expected = "\
CLIENT            LISTEN            HOST             BACKEND            SITE  STATE          AGE    IDLE  IN     OUT
192.0.2.70:50001  198.51.100.1:443  www.example.org  [2001:db8::9]:443  home  established  2h01m    0s  100 B  12.3 MB
192.0.2.7:50000   198.51.100.1:443  -                -                  -     handshake       1s    0s  100 B      0 B
";
        let table = Flows::from(flows.clone()).table(Style::Plain);
        let squeezed = |text: &str| -> Vec<Vec<String>> {
            text.lines()
                .map(|l| {
                    l.split("  ").map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect()
                })
                .collect()
        };
        assert_eq!(squeezed(&table), squeezed(expected), "\n{table}");
        assert!(Flows::from(flows).table(Style::Coloured).contains("\x1b["));
    }

    #[test]
    fn flows_are_sorted_as_asked() {
        let mut flows = vec![
            flow("192.0.2.1:1", Some("b.example"), 5, 10),
            flow("192.0.2.2:1", Some("a.example"), 9, 1),
            flow("192.0.2.3:1", None, 1, 99),
        ];
        for (by, order) in [
            (Sort::Age, [2, 1, 3]),
            (Sort::Bytes, [3, 1, 2]),
            (Sort::Host, [3, 2, 1]),
            (Sort::Client, [1, 2, 3]),
            (Sort::State, [3, 1, 2]),
        ] {
            sort(&mut flows, by);
            let got: Vec<u8> = flows.iter().map(|flow| flow.client.ip().octets()[3]).collect();
            assert_eq!(got, order, "{by:?}");
        }
    }
}
