//! A server of PostgreSQL for one run, by `ci/postgresql`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use dau_rig::places::repository;

use crate::probe::Usage;

/// A server, which ends with this value.
pub struct Server {
    folder: tempfile::TempDir,
    pub url: String,
}

fn script() -> PathBuf {
    repository().join("ci/postgresql")
}

impl Server {
    /// Starts one on this machine's disk, which syncs as it would in service.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // PostgreSQL may run as another user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let mut command = Command::new(script());
        let done = command
            .arg("start")
            .arg(folder.path().join("pg"))
            .output()?;
        ensure!(
            done.status.success(),
            "no server of PostgreSQL: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        let url = String::from_utf8(done.stdout)?.trim().to_owned();
        Ok(Server { folder, url })
    }

    /// Returns the section of the station's configuration.
    pub fn section(&self) -> String {
        format!("[database]\nurl = \"{}\"\n", self.url)
    }

    /// Returns memory and processor time of all its processes, those that have ended included.
    pub fn usage(&self) -> Result<Usage> {
        let file = self.folder.path().join("pg/data/postmaster.pid");
        let text = std::fs::read_to_string(&file).context("the server's process id")?;
        let leader: u32 = text.lines().next().unwrap_or_default().parse()?;
        Ok(Usage::of_family(leader))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let folder = self.folder.path().join("pg");
        let _ = Command::new(script()).arg("stop").arg(folder).status();
    }
}
