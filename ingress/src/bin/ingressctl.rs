//! The operator's command.

use std::process::ExitCode;

use clap::Parser;
use ingress::cli::{Args, run};

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_silent() {
                eprintln!("ingressctl: {failure}");
            }
            failure.code()
        }
    }
}
