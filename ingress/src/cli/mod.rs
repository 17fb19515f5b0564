//! What ingressctl does with its arguments.

mod args;
mod failure;
mod flows;
mod human;
mod report;
mod sheet;

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use clap::CommandFactory;
use serde::Serialize;

pub use args::{Args, Command, Format};
pub use failure::Failure;

use crate::control::{Request, Response, call};
use sheet::Style;

/// Does what the arguments say. What it cannot do, the failure tells, with the exit code.
pub fn run(args: &Args) -> Result<(), Failure> {
    let context = Context { socket: &args.socket, format: args.output, style: Style::detect() };
    match &args.command {
        Command::Flows(flows) => flows::run(&context, flows),
        Command::Status => match context.call(&Request::Status)? {
            Response::Status(status) => context.print(&status),
            other => Err(Failure::unexpected(&other)),
        },
        Command::Stats => match context.call(&Request::Stats)? {
            Response::Stats(stats) => context.print(&stats),
            other => Err(Failure::unexpected(&other)),
        },
        Command::Drops => match context.call(&Request::Drops)? {
            Response::Drops(drops) => context.print(&drops),
            other => Err(Failure::unexpected(&other)),
        },
        Command::Dns { flush: None } => match context.call(&Request::Dns)? {
            Response::Dns(dns) => context.print(&dns),
            other => Err(Failure::unexpected(&other)),
        },
        Command::Dns { flush: Some(name) } => {
            let name = (!name.is_empty()).then(|| name.clone());
            match context.call(&Request::Flush { name })? {
                Response::Flushed { names } => context.print(&report::Flushed { names }),
                other => Err(Failure::unexpected(&other)),
            }
        }
        Command::Reload => match context.call(&Request::Reload)? {
            Response::Reloaded { changes } => context.print(&report::Reloaded { changes }),
            other => Err(Failure::unexpected(&other)),
        },
        Command::Explain { name } => {
            match context.call(&Request::Explain { name: name.clone() })? {
                Response::Explanation(explanation) => {
                    context.print(&explanation)?;
                    if explanation.ok() { Ok(()) } else { Err(Failure::silent()) }
                }
                other => Err(Failure::unexpected(&other)),
            }
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "ingressctl", &mut script);
            write(&script)
        }
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
    fn call(&self, request: &Request) -> Result<Response, Failure> {
        match call(self.socket, request)? {
            Response::Error { kind, message } => Err(Failure::refused(kind, message)),
            response => Ok(response),
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
