//! Paths on mnt.

use std::io;
use std::path::{Path, PathBuf};

/// Where the normal OS mounts the partition labelled mnt.
pub const MNT: &str = "/mnt";

/// The folder `dau` on a mounted mnt, and what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout on the mnt that is mounted at `mnt`.
    pub fn new(mnt: &Path) -> Self {
        Layout {
            root: mnt.join("dau"),
        }
    }

    /// Creates the folders that are missing.
    pub fn create(&self) -> io::Result<()> {
        for folder in [
            self.identity(),
            self.packages(),
            self.backups(),
            self.results(),
            self.logs(),
        ] {
            std::fs::create_dir_all(folder)?;
        }
        dau_system::durable::sync_directory(&self.root)
    }

    /// `/mnt/dau`
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Terminal id, TLS key and certificate, station CA: written at the factory.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    /// Folder of the packages.
    pub fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// The package whose root filesystem runs now, kept for rollback.
    pub fn installed(&self) -> PathBuf {
        self.packages().join("installed.dau")
    }

    /// The package whose kernel runs now, where [`Layout::installed`] does not carry it.
    pub fn installed_kernel(&self) -> PathBuf {
        self.packages().join("installed-kernel.dau")
    }

    /// The verified package of the current job.
    pub fn candidate(&self) -> PathBuf {
        self.packages().join("candidate.dau")
    }

    /// The unfinished download of a job.
    pub fn part(&self, job: i64) -> PathBuf {
        self.packages().join(format!("{job}.part"))
    }

    /// The current job and its state.
    pub fn job(&self) -> PathBuf {
        self.root.join("job.json")
    }

    /// Folder of jobs that are over, until the station has taken note and a while beyond.
    pub fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    /// A job that is over.
    pub fn result(&self, job: i64) -> PathBuf {
        self.results().join(format!("{job}.json"))
    }

    /// Results of earlier jobs.
    pub fn history(&self) -> PathBuf {
        self.root.join("history.json")
    }

    /// Folder of the parameter backups.
    pub fn backups(&self) -> PathBuf {
        self.root.join("backup")
    }

    /// The parameters as they were before a job.
    pub fn backup(&self, job: i64) -> PathBuf {
        self.backups().join(format!("{job}.tar"))
    }

    /// The line that `sha256sum -c` reads for [`Layout::backup`].
    pub fn backup_digest(&self, job: i64) -> PathBuf {
        self.backups().join(format!("{job}.tar.sha256"))
    }

    /// Logs of RecoveryOS, bounded.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The log of the normal OS, where its system log is kept on mnt.
    pub fn os_log(&self) -> PathBuf {
        self.logs().join("messages")
    }

    /// What [`Layout::os_log`] was when RecoveryOS last began to install another OS.
    pub fn os_log_before(&self) -> PathBuf {
        self.logs().join("messages.before")
    }

    /// The end of the log of the OS that a job installed and that did not prove itself.
    pub fn trial_log(&self, job: i64) -> PathBuf {
        self.logs().join(format!("trial-{job}.log"))
    }

    /// The last time that was shown to be about right, seconds since 1970-01-01 UTC: see [`dau_system::clock`].
    pub fn clock(&self) -> PathBuf {
        self.root.join("clock")
    }
}
