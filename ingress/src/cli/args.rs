//! The arguments of ingressctl.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ipnet::IpNet;

use crate::{
    config::{DEFAULT_PATH, DEFAULT_SOCKET},
    control::{Filter, FlowState, network},
};

/// Asks the running ingressd.
#[derive(Clone, Debug, Parser)]
#[command(name = "ingressctl", version, about, after_help = EXIT_CODES)]
pub struct Args {
    /// The daemon's control socket
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 69 daemon not reachable, \
                          77 not permitted, 78 configuration";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Connections of IPv4 clients
    Flows(Flows),
    /// What goes on now: rates by path, site and name, the busiest flows, handshakes, drops
    Top(Top),
    /// How the daemon, its interfaces and its sites are
    Status,
    /// What the policy knows
    Policy {
        /// What to show.
        #[command(subcommand)]
        action: PolicyAction,
    },
    /// Packets, bytes, and how handshakes ended
    Stats,
    /// What was dropped and why
    Drops,
    /// Names and their addresses
    Dns {
        /// Forget what DNS servers answered, of NAME or of all names
        #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
        flush: Option<String>,
    },
    /// Apply the configuration file anew
    Reload,
    /// What would happen to a client that asks for NAME; exits with 1 if it would be refused
    Explain {
        /// A host name; or the address of a client, to see what the lists say of it
        name: String,
    },
    /// What on this machine would keep ingressd from working; exits with 1 if anything would
    Doctor {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
    },
    /// A completion script for a shell
    Completions {
        /// Which
        shell: Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Into this directory
        directory: PathBuf,
    },
}

/// `ingressctl flows`.
#[derive(Clone, Debug, clap::Args)]
pub struct Flows {
    /// Which flows.
    #[command(flatten)]
    pub select: Select,
    /// In which order: largest, longest or first in the alphabet at the top
    #[arg(long, value_enum, default_value_t = Sort::Age)]
    pub sort: Sort,
    /// Print again every SECONDS
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub watch: Option<u64>,
    /// What to do with them, other than to list them.
    #[command(subcommand)]
    pub action: Option<FlowsAction>,
}

/// `ingressctl top`.
#[derive(Clone, Debug, clap::Args)]
pub struct Top {
    /// The time between two looks
    #[arg(long, short = 'd', value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// End after so many looks
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// At most so many names and so many flows
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub rows: usize,
}

/// What can be done with flows.
#[derive(Clone, Debug, Subcommand)]
pub enum FlowsAction {
    /// End the flows that the filters select, but for handshakes, which end by themselves
    Kill {
        /// End all of them, without a filter
        #[arg(long)]
        all: bool,
    },
}

/// What can be asked of the policy.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum PolicyAction {
    /// Connections from inside whose answers come in though no rule lets them
    Connections,
}

/// Which flows are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Select {
    /// Only this name, or with `*.` before it, the names below
    #[arg(long, global = true, value_name = "NAME")]
    pub host: Option<String>,
    /// Only clients in this address or prefix
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = network)]
    pub client: Option<IpNet>,
    /// Only backends in this address or prefix
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = network)]
    pub backend: Option<IpNet>,
    /// Only this site
    #[arg(long, global = true, value_name = "NAME")]
    pub site: Option<String>,
    /// Only flows in this state
    #[arg(long, global = true, value_enum)]
    pub state: Option<FlowState>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON value
    Json,
    /// A JSON value for each row, a line each
    Ndjson,
}

/// By what flows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Age,
    Idle,
    Bytes,
    Packets,
    Host,
    Client,
    Backend,
    Site,
    State,
}

impl From<&Select> for Filter {
    fn from(select: &Select) -> Self {
        Self {
            host: select.host.clone(),
            client: select.client,
            backend: select.backend,
            site: select.site.clone(),
            state: select.state,
        }
    }
}
