//! One lab for all tests of a test binary, handed to one test at a time.

use crate::client::{self, Curl};
use crate::daemon::Daemon;
use crate::servers::{Certificate, Dns, Postgres, Web};
use crate::topology::Lab;
use anyhow::{Context, Result};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The lab with everything running in it. Fields are dropped in order.
#[derive(Debug)]
pub struct Stage {
    /// On the VPS.
    pub daemon: Option<Daemon>,
    /// At home.
    pub web: Web,
    postgres: Option<Postgres>,
    _dns: Dns,
    /// Trusted by the client.
    pub certificate: Certificate,
    /// The network.
    pub lab: Lab,
    /// Set by tests while they have changed what others rely on.
    pub disturbed: bool,
}

impl Stage {
    /// Builds it all.
    pub fn build() -> Result<Self> {
        let mut stage = Self::build_without_daemon()?;
        stage.daemon = Some(Daemon::start(&stage.lab)?);
        Ok(stage)
    }

    /// Builds everything but the daemon.
    pub fn build_without_daemon() -> Result<Self> {
        let lab = Lab::new()?;
        let certificate = Certificate::generate(lab.dir())?;
        Self::furnish(lab, certificate)
    }

    /// Starts the servers in a network.
    pub fn furnish(lab: Lab, certificate: Certificate) -> Result<Self> {
        let dns = Dns::start(&lab)?;
        let web = Web::start(&lab, &certificate)?;
        Ok(Self {
            daemon: None,
            web,
            postgres: None,
            _dns: dns,
            certificate,
            lab,
            disturbed: false,
        })
    }

    /// Whether the daemon runs, the tunnel carries packets, and no test has left anything changed.
    pub fn is_sound(&mut self) -> bool {
        let runs = self.daemon.as_mut().is_none_or(Daemon::is_running);
        runs && !self.disturbed && self.lab.wait_for_tunnel().is_ok()
    }

    /// The daemon that runs.
    pub fn daemon(&self) -> Result<&Daemon> {
        self.daemon.as_ref().context("no daemon is started")
    }

    /// The daemon, to stop and start it.
    pub fn daemon_mut(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("no daemon is started")
    }

    /// Ends the web server at home and starts it again, with new sockets.
    pub fn restart_web(&mut self) -> Result<()> {
        self.web.stop()?;
        self.web = Web::start(&self.lab, &self.certificate)?;
        Ok(())
    }

    /// The database server, started when first needed.
    pub fn postgres(&mut self) -> Result<&Postgres> {
        if self.postgres.is_none() {
            self.postgres = Some(Postgres::start(&self.lab, &self.certificate)?);
        }
        self.postgres.as_ref().context("just started")
    }

    /// A request over IPv4 by name.
    pub fn by_name(&self, name: &str, path: &str) -> Result<Curl> {
        Curl::by_name(&self.lab, &self.certificate, name, path)
    }

    /// A query by psql over IPv4 by name, not yet started.
    pub fn psql_command(&self, name: &str, query: &str) -> Result<Command> {
        client::psql_command(&self.lab, name, query)
    }

    /// A request over IPv6 to the web server.
    pub fn by_ipv6(&self, path: &str) -> Result<Curl> {
        use crate::addresses::{WWW, WWW6};
        Curl::direct(&self.lab, &self.certificate, WWW, WWW6, path)
    }
}

/// The test binary's stage, for one test at a time.
///
/// # Panics
///
/// If it cannot be built: then no test of the binary can pass.
pub fn stage() -> MutexGuard<'static, Stage> {
    static STAGE: OnceLock<Result<Mutex<Stage>, String>> = OnceLock::new();
    let stage = STAGE.get_or_init(|| match Stage::build() {
        Ok(stage) => Ok(Mutex::new(stage)),
        Err(error) => Err(format!("{error:?}")),
    });
    match stage {
        Ok(stage) => hand_on(stage, Stage::is_sound, Stage::build),
        Err(error) => panic!("no lab: {error}"),
    }
}

/// Hands what tests share to the next one. What one that failed has left is not for others to suffer: it is built anew.
///
/// # Panics
///
/// If it cannot be built.
pub fn hand_on<T>(
    shared: &Mutex<T>,
    is_sound: impl FnOnce(&mut T) -> bool,
    build: impl FnOnce() -> Result<T>,
) -> MutexGuard<'_, T> {
    let mut held = shared.lock().unwrap_or_else(PoisonError::into_inner);
    // A test that panics poisons it.
    if shared.is_poisoned() || !is_sound(&mut held) {
        *held = build().unwrap_or_else(|error| panic!("no other lab: {error:?}"));
        shared.clear_poison();
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn what_a_failed_test_leaves_is_built_anew() {
        let shared = Mutex::new("the first");
        let take = |is_sound| hand_on(&shared, |_| is_sound, || Ok("another"));
        assert_eq!(*take(true), "the first");
        let failed = thread::scope(|scope| {
            let test = scope.spawn(|| {
                let _held = take(true);
                panic!("a test that fails");
            });
            test.join()
        });
        assert!(failed.is_err());
        assert_eq!(*take(true), "another");
        *take(true) = "disturbed";
        assert_eq!(*take(true), "disturbed");
        assert_eq!(*take(false), "another");
    }
}
