//! `ingressctl doctor`: what on this machine would keep ingressd from working, and what to do about it.

mod daemon;
mod host;
mod kernel;
mod network;
mod tunnel;

use std::path::Path;

use serde::Serialize;

use super::{
    Context, Failure, Report,
    sheet::{Sheet, Style, bad, good, pending, text},
};
use crate::config::{Config, DEFAULT_SOCKET};
use host::Host;

/// Everything that was looked at.
#[derive(Serialize)]
struct Diagnosis {
    findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    what: String,
    /// What to do; empty where nothing need be done.
    remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// It works, but not well or not for everybody.
    Warn,
    Fail,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), remedy: String::new() }
    }

    fn warn(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, what: what.into(), remedy: remedy.into() }
    }

    fn fail(check: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, what: what.into(), remedy: remedy.into() }
    }
}

/// Looks at everything; fails if anything would keep ingressd from working.
pub(super) fn run(context: &Context<'_>, config: &Path) -> Result<(), Failure> {
    let host = Host::here()
        .map_err(|error| Failure::failed(&format!("the network cannot be looked at: {error:#}")))?;
    let mut findings = vec![kernel::version(&host), kernel::capabilities(&host)];
    let mut socket = context.socket.to_owned();
    match Config::load(config) {
        Ok(checked) => {
            // Where nobody said otherwise, the configuration knows better.
            if socket == Path::new(DEFAULT_SOCKET) {
                socket.clone_from(&checked.control.socket);
            }
            findings.push(Finding::ok("configuration", config.display().to_string()));
            findings.push(kernel::bpffs(&host, &checked.daemon.bpffs));
            findings.extend(network::check(&host, &checked));
            findings.extend(tunnel::check(&checked));
            findings.push(daemon::dns(&checked)?);
        }
        Err(error) => findings.push(Finding::fail(
            "configuration",
            error.to_string(),
            "correct it; what depends on it was not looked at",
        )),
    }
    findings.extend(daemon::check(&host, &socket));
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    context.print(&Diagnosis { findings })?;
    if failed { Err(Failure::silent()) } else { Ok(()) }
}

impl Report for Diagnosis {
    fn table(&self, style: Style) -> String {
        let mut sheet = Sheet::new(style);
        for Finding { check, verdict, what, remedy } in &self.findings {
            let mark = match verdict {
                Verdict::Ok => good("ok"),
                Verdict::Warn => pending("WARN"),
                Verdict::Fail => bad("FAIL"),
            };
            sheet.row([mark, text(check), text(what)]);
            if !remedy.is_empty() {
                sheet.row([text(""), text(""), text(format!("→ {remedy}"))]);
            }
        }
        sheet.finish()
    }

    fn rows(&self) -> serde_json::Result<Vec<String>> {
        self.findings.iter().map(serde_json::to_string).collect()
    }
}
