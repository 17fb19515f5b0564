//! What ingressctl does with its arguments.

mod args;
mod doctor;
mod failure;
mod flows;
pub(crate) mod human;
mod policy;
mod report;
#[cfg(test)]
mod samples;
mod sheet;
mod top;

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use clap::CommandFactory;
use serde::Serialize;

pub use args::{Args, Command, Format, PolicyAction};
pub use failure::Failure;

use crate::control::{Request, Response, call};
use sheet::Style;

/// Does what the arguments say. What it cannot do, the failure tells, with the exit code.
pub fn run(args: &Args) -> Result<(), Failure> {
    let context = Context { socket: &args.socket, format: args.output, style: Style::detect() };
    match &args.command {
        Command::Flows(flows) => flows::run(&context, flows),
        Command::Top(args) => top::run(&context, args),
        Command::Status => context.ask(&Request::Status),
        Command::Policy { action: PolicyAction::Connections } => context.ask(&Request::Connections),
        Command::Stats => context.ask(&Request::Stats),
        Command::Drops => context.ask(&Request::Drops),
        Command::Dns { flush: None } => context.ask(&Request::Dns),
        Command::Dns { flush: Some(name) } => {
            context.ask(&Request::Flush { name: (!name.is_empty()).then(|| name.clone()) })
        }
        Command::Reload => context.ask(&Request::Reload),
        Command::Explain { name } => context.ask(&Request::Explain { name: name.clone() }),
        Command::Doctor { config } => doctor::run(&context, config),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "ingressctl", &mut script);
            write(&script)
        }
        Command::Man { directory } => Ok(clap_mangen::generate_to(Args::command(), directory)?),
    }
}

/// An answer that can be printed.
trait Report: Serialize {
    /// As text for people, ending in a newline.
    fn table(&self, style: Style) -> String;

    /// As rows of their own, where it is a list.
    fn rows(&self) -> serde_json::Result<Vec<String>> {
        Ok(vec![serde_json::to_string(self)?])
    }
}

struct Context<'a> {
    socket: &'a Path,
    format: Format,
    style: Style,
}

impl Context<'_> {
    fn ask(&self, request: &Request) -> Result<(), Failure> {
        self.show(&call(self.socket, request)?)
    }

    fn show(&self, response: &Response) -> Result<(), Failure> {
        match response {
            Response::Flows(flows) => self.print(flows),
            Response::Killed { flows } => self.print(&report::Killed { flows: *flows }),
            Response::Connections(connections) => self.print(connections),
            Response::Stats(stats) => self.print(stats),
            Response::Drops(drops) => self.print(drops),
            Response::Status(status) => self.print(status),
            Response::Dns(dns) => self.print(dns),
            Response::Flushed { names } => self.print(&report::Flushed { names: *names }),
            Response::Reloaded { changes } => self.print(&report::Reloaded { changes }),
            Response::Explanation(explanation) => {
                self.print(explanation)?;
                if explanation.ok() { Ok(()) } else { Err(Failure::silent()) }
            }
            Response::Error { kind, message } => Err(Failure::refused(*kind, message)),
        }
    }

    fn print(&self, report: &impl Report) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => report.table(self.style),
            Format::Json => serde_json::to_string(report).map_err(io::Error::from)? + "\n",
            Format::Ndjson => {
                let rows = report.rows().map_err(io::Error::from)?;
                rows.iter().map(|row| format!("{row}\n")).collect()
            }
        };
        write(text.as_bytes())
    }

    /// Makes room for the next of several tables.
    fn clear(&self) -> Result<(), Failure> {
        if self.format == Format::Table && io::stdout().is_terminal() {
            return write(b"\x1b[H\x1b[2J");
        }
        Ok(())
    }
}

fn write(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        // `ingressctl flows | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::closed()),
        result => Ok(result?),
    }
}
