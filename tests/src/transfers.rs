//! Transfers under way, which faults must not harm.

use crate::addresses::WWW;
use crate::client::{Answer, random_file, same_content};
use crate::process::wait_until;
use crate::shared::Stage;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const MEGABYTES: usize = 24;
/// Octets a second, as curl reads it.
const PACE: &str = "3M";

/// A download and an upload that last for some seconds.
#[derive(Debug)]
pub struct Transfers {
    file: PathBuf,
    upload: String,
    down: JoinHandle<Result<Answer>>,
    up: JoinHandle<Result<Answer>>,
}

impl Transfers {
    /// Starts them, and waits until both are on their way.
    pub fn start(stage: &Stage, name: &str) -> Result<Self> {
        Self::start_at(stage, name, PACE)
    }

    /// The same at another pace.
    pub fn start_at(stage: &Stage, name: &str, pace: &str) -> Result<Self> {
        let pace = ["--limit-rate", pace];
        let file = stage.web.root().join("faults.bin");
        if !file.exists() {
            random_file(&file, MEGABYTES)?;
        }
        let upload = format!("{name}.bin");
        let down = stage.by_name(WWW, "/faults.bin")?.args(&pace).start();
        let up = stage.by_name(WWW, &format!("/{upload}"))?.args(&pace).upload(&file).start();
        wait_until(SOON, "both are on their way", || {
            let flows = stage.daemon().and_then(|daemon| daemon.flows()).unwrap_or_default();
            let busy = flows.iter().filter(|flow| {
                let bytes = |key: &str| flow[key].as_u64().unwrap_or(0);
                bytes("bytes_in") + bytes("bytes_out") > 200_000 && flow["state"] == "established"
            });
            busy.count() >= 2
        })?;
        Ok(Self { file, upload, down, up })
    }

    /// Whether both still go on.
    #[must_use]
    pub fn last(&self) -> bool {
        !self.down.is_finished() && !self.up.is_finished()
    }

    /// Both must end, and must be whole.
    pub fn finish(self, stage: &Stage) -> Result<()> {
        let (down, up) = (self.down.join().expect("no panic")?, self.up.join().expect("no panic")?);
        assert_eq!(down.exit_code(), 0, "{}", down.error());
        assert_eq!(up.exit_code(), 0, "{}", up.error());
        assert!(same_content(&down.body, &self.file)?, "what came is not what was sent");
        let stored: &Path = &stage.web.root().join(&self.upload);
        assert!(same_content(stored, &self.file)?, "what was stored is not what was sent");
        fs::remove_file(&down.body)?;
        fs::remove_file(stored)?;
        Ok(())
    }
}

/// An ordinary client, who must be served.
pub fn fetch(stage: &Stage, path: &str) -> Result<()> {
    let answer = stage.by_name(WWW, path)?.args(&["--max-time", "10"]).run()?;
    assert_eq!(answer.status(), 200, "{path}: {}", answer.error());
    Ok(())
}
