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
        Ok(Self { daemon: None, web, postgres: None, _dns: dns, certificate, lab })
    }

    /// Whether the daemon runs and the tunnel carries packets.
    fn is_sound(&mut self) -> bool {
        self.daemon.as_mut().is_none_or(Daemon::is_running) && self.lab.wait_for_tunnel().is_ok()
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
    let mut stage = match stage {
        Ok(stage) => stage.lock().unwrap_or_else(PoisonError::into_inner),
        Err(error) => panic!("no lab: {error}"),
    };
    // What a test that failed has left is not for the next to suffer.
    if !stage.is_sound() {
        *stage = Stage::build().unwrap_or_else(|error| panic!("no other lab: {error:?}"));
    }
    stage
}
