//! Paths on mnt.

use std::io;
use std::path::{Path, PathBuf};

/// Mount point of the partition mnt in the normal OS.
pub const MNT: &str = "/mnt";
/// [`Layout::root`] in the normal OS.
pub const ROOT: &str = "/mnt/dau";

/// Names in the identity folder, which is filled at the factory.
pub mod identity {
    /// The terminal's id, one line.
    pub const TERMINAL_ID: &str = "terminal-id";
    /// The private key for TLS, PKCS#8.
    pub const KEY: &str = "key.pem";
    /// The certificate for it.
    pub const CERTIFICATE: &str = "cert.pem";
    /// The certificate authorities of broker and file service.
    pub const STATION_CA: &str = "station-ca.pem";
    /// The site's own settings of the agent.
    pub const SETTINGS: &str = "agent.toml";
}

// Prefixes of numbered names.
const RECOVERY_LOG: &str = "recovery-";
const TRIAL_LOG: &str = "trial-";

/// The folder `dau` on a mounted mnt, and its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Returns the layout for the mnt mounted at `mnt`.
    pub fn new(mnt: &Path) -> Self {
        Layout {
            root: mnt.join("dau"),
        }
    }

    /// Creates missing folders. Anything else in a folder's place is renamed to `NAME.damaged`.
    pub fn create(&self) -> io::Result<()> {
        for folder in [
            self.root.clone(),
            self.identity(),
            self.packages(),
            self.backups(),
            self.results(),
            self.logs(),
        ] {
            if std::fs::symlink_metadata(&folder).is_ok() && !folder.is_dir() {
                let aside = folder.with_extension("damaged");
                log::error!("{} is no folder: it is set aside", folder.display());
                dau_system::durable::rename(&folder, &aside)?;
            }
            std::fs::create_dir_all(folder)?;
        }
        dau_system::durable::sync_directory(&self.root)
    }

    /// Removes the temporary files of interrupted writers: see
    /// [`dau_system::durable::remove_temporaries`]. Call it at the start, before anything is
    /// written. Returns the number of files removed.
    pub fn remove_temporaries(&self) -> io::Result<usize> {
        let mut count = 0_usize;
        for folder in [
            self.root.clone(),
            self.packages(),
            self.backups(),
            self.results(),
        ] {
            let removed = dau_system::durable::remove_temporaries(&folder)?;
            count = count.saturating_add(removed);
        }
        Ok(count)
    }

    /// The seconds over which the station has EVENT_LINKUPs spread, the agent's
    pub fn spread(&self) -> PathBuf {
        self.root.join("spread")
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

    /// The package whose kernel runs now, if [`Layout::installed`] does not contain it.
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

    /// The package that is being made of a delta, which is [`Layout::part`].
    pub fn rebuilt(&self, job: i64) -> PathBuf {
        self.packages().join(format!("{job}.rebuilt.part"))
    }

    /// The note beside [`Layout::part`] that identifies its package.
    pub fn part_note(part: &Path) -> PathBuf {
        part.with_extension("part.json")
    }

    /// Returns the unfinished downloads of all jobs with their notes, and
    /// [`Layout::recovery_copy`].
    pub fn unfinished(&self) -> io::Result<Vec<PathBuf>> {
        list(&self.packages(), |name| {
            name.ends_with(".part") || name.ends_with(".part.json")
        })
    }

    /// A copy of the RecoveryOS in charge, while it is written to the other slot.
    pub fn recovery_copy(&self) -> PathBuf {
        self.packages().join("recovery.part")
    }

    /// The current job and its state.
    pub fn job(&self) -> PathBuf {
        self.root.join("job.json")
    }

    /// The new place of a job file that cannot be read.
    pub fn damaged_job(&self) -> PathBuf {
        self.job().with_extension("damaged")
    }

    /// Number of reboots to roll back an OS on trial that has no job to count them.
    pub fn rollback_tries(&self) -> PathBuf {
        self.root.join("rollback-tries")
    }

    /// Folder of finished jobs, which are kept until some time after the station has acknowledged
    /// them.
    pub fn results(&self) -> PathBuf {
        self.root.join("results")
    }

    /// A finished job.
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

    /// The parameters before a job.
    pub fn backup(&self, job: i64) -> PathBuf {
        self.backups().join(format!("{job}.tar"))
    }

    /// The line for `sha256sum -c` about [`Layout::backup`].
    pub fn backup_digest(&self, job: i64) -> PathBuf {
        self.backups().join(format!("{job}.tar.sha256"))
    }

    /// Returns all backups with their digest files, the oldest first.
    pub fn all_backups(&self) -> io::Result<Vec<(PathBuf, PathBuf)>> {
        let tars = list(&self.backups(), |name| name.ends_with(".tar"))?;
        let with_digest = |tar: PathBuf| {
            let digest = tar.with_extension("tar.sha256");
            (tar, digest)
        };
        Ok(oldest_first(tars).into_iter().map(with_digest).collect())
    }

    /// Logs of RecoveryOS and of health checks, bounded.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Returns all logs but the normal OS's; they are only history.
    pub fn bounded_logs(&self) -> io::Result<Vec<PathBuf>> {
        list(&self.logs(), |name| name.ends_with(".log"))
    }

    /// The log of the normal OS, if its system log is kept on mnt.
    pub fn os_log(&self) -> PathBuf {
        self.logs().join("messages")
    }

    /// The [`Layout::os_log`] of the OS that RecoveryOS last began to replace.
    pub fn os_log_before(&self) -> PathBuf {
        self.logs().join("messages.before")
    }

    /// The end of the log of an OS that a job installed and that failed its trial.
    pub fn trial_log(&self, job: i64) -> PathBuf {
        self.logs().join(format!("{TRIAL_LOG}{job}.log"))
    }

    /// Returns all files of [`Layout::trial_log`], the oldest first.
    pub fn all_trial_logs(&self) -> io::Result<Vec<PathBuf>> {
        let logs = list(&self.logs(), |name| name.starts_with(TRIAL_LOG))?;
        Ok(oldest_first(logs))
    }

    /// The output of the utility's last health check.
    pub fn health_log(&self) -> PathBuf {
        self.logs().join("health.log")
    }

    /// The log of a run of RecoveryOS, numbered from 1.
    pub fn recovery_log(&self, number: u64) -> PathBuf {
        self.logs().join(format!("{RECOVERY_LOG}{number:06}.log"))
    }

    /// Returns the numbers of RecoveryOS's logs, ascending.
    pub fn recovery_logs(&self) -> io::Result<Vec<u64>> {
        let number = |path: PathBuf| {
            let name = path.file_name()?.to_str()?;
            let digits = name.strip_prefix(RECOVERY_LOG)?.strip_suffix(".log")?;
            digits.parse().ok()
        };
        let logs = list(&self.logs(), |name| name.starts_with(RECOVERY_LOG))?;
        let mut numbers: Vec<u64> = logs.into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The agent's counts of bytes, of the current job and of the month.
    pub fn traffic(&self) -> PathBuf {
        self.root.join("traffic.json")
    }

    /// The last confirmed time, seconds since 1970-01-01 UTC: see [`dau_system::clock`].
    pub fn clock(&self) -> PathBuf {
        self.root.join("clock")
    }
}

/// Returns the files in a folder with wanted names; files that vanish meanwhile are left out.
fn list(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)?.flatten() {
        if wanted(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Sorts by time of change, then by name. Files that have vanished are left out.
fn oldest_first(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let timed = |path: PathBuf| {
        let modified = path.metadata().and_then(|data| data.modified()).ok()?;
        Some((modified, path))
    };
    let mut timed: Vec<_> = paths.into_iter().filter_map(timed).collect();
    timed.sort();
    timed.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_below_where_the_normal_os_mounts_mnt() {
        assert_eq!(Layout::new(Path::new(MNT)).root(), Path::new(ROOT));
    }

    #[test]
    fn what_accumulates_is_listed_by_age() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        for (job, seconds) in [(9, 1), (7, 2), (8, 3)] {
            std::fs::write(layout.backup_digest(job), "").unwrap();
            let file = std::fs::File::create(layout.backup(job)).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
        }
        let expected = [9, 7, 8].map(|job| (layout.backup(job), layout.backup_digest(job)));
        assert_eq!(layout.all_backups().unwrap(), expected);
        for number in [10, 2] {
            std::fs::write(layout.recovery_log(number), "").unwrap();
        }
        std::fs::write(layout.trial_log(5), "").unwrap();
        std::fs::write(layout.logs().join("recovery-x.log"), "").unwrap();
        assert_eq!(layout.recovery_logs().unwrap(), [2, 10]);
        assert_eq!(layout.all_trial_logs().unwrap(), [layout.trial_log(5)]);
    }

    #[test]
    fn leftovers_of_downloads_are_listed_and_packages_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        let part = layout.part(-5);
        let left = [
            part.clone(),
            Layout::part_note(&part),
            layout.rebuilt(-5),
            layout.recovery_copy(),
        ];
        for path in left.iter().chain([&layout.installed()]) {
            std::fs::write(path, "").unwrap();
        }
        let mut found = layout.unfinished().unwrap();
        found.sort();
        assert_eq!(found, left);
    }

    #[test]
    fn what_stands_in_a_folders_place_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::write(layout.root(), "a file").unwrap();
        layout.create().unwrap();
        std::fs::remove_dir(layout.logs()).unwrap();
        std::os::unix::fs::symlink("log", layout.logs()).unwrap();
        std::fs::remove_dir(layout.backups()).unwrap();
        std::fs::write(layout.backups(), "a file").unwrap();
        layout.create().unwrap();
        assert!(layout.logs().is_dir() && layout.backups().is_dir());
        let aside = dir.path().join("dau.damaged");
        assert_eq!(std::fs::read(aside).unwrap(), b"a file");
    }

    #[test]
    fn what_interrupted_writers_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        std::fs::write(layout.backups().join(".7.tar.tmp"), "torn").unwrap();
        std::fs::write(layout.root().join(".job.json.tmp"), "torn").unwrap();
        std::fs::write(layout.job(), "{}").unwrap();
        assert_eq!(layout.remove_temporaries().unwrap(), 2);
        assert!(layout.job().exists());
        assert_eq!(layout.remove_temporaries().unwrap(), 0);
    }
}
