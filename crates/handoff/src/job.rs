//! The current job.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Failures of an installation (power cuts do not count) after which RecoveryOS stops trying.
pub const MAX_FAILURES: u32 = 3;

/// What a job writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The kernel.
    Kernel,
    /// The root filesystem.
    Rootfs,
    /// Both, and the RecoveryOS that the package may bring.
    Full,
    /// RecoveryOS.
    Recovery,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Kernel => "kernel",
            Kind::Rootfs => "rootfs",
            Kind::Full => "full",
            Kind::Recovery => "recovery",
        })
    }
}

/// The order as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Version after the upgrade.
    pub version: String,
    /// What is written.
    pub kind: Kind,
    /// Where the package is.
    pub url: String,
    /// Bearer token for the download.
    #[serde(default)]
    pub token: Option<String>,
    /// MD5 of the package file as the station says, 32 hexadecimal digits.
    #[serde(default)]
    pub md5: Option<String>,
    /// Size of the package in bytes as the station says; a hint, units differ between stations.
    #[serde(default)]
    pub size: Option<u64>,
    /// Seconds since 1970-01-01 UTC before which the job does not start.
    #[serde(default)]
    pub start_at: u64,
    /// Seconds since 1970-01-01 UTC after which the job does not start any more.
    #[serde(default)]
    pub expires_at: Option<u64>,
    /// `mid` of the message that brought the order.
    #[serde(default)]
    pub mid: i64,
}

/// How far a job is. The agent moves it up to [`JobState::Armed`], RecoveryOS on to [`JobState::Trial`],
/// the agent to the end; RecoveryOS ends it where it refuses, fails or rolls back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum JobState {
    /// Waits for its start.
    Accepted,
    /// The package is being fetched.
    Downloading,
    /// The package is being verified.
    Verifying,
    /// The parameters are being backed up and read back.
    BackingUp,
    /// Everything is ready; the upgrade flag is set, or about to be.
    Armed,
    /// RecoveryOS is at work.
    Installing,
    /// Committed: the new OS is to prove itself.
    Trial,
    /// The agent replaces RecoveryOS: the OS, where the job brought one, is confirmed.
    UpdatingRecovery,
    /// RecoveryOS is to put back, or puts back, what was installed before.
    RollingBack {
        /// Why.
        reason: String,
    },
    /// The job has its result.
    Finished {
        /// How it ended.
        result: JobResult,
        /// The station has taken notice.
        #[serde(default)]
        acknowledged: bool,
    },
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new OS runs and was confirmed.
    Success,
    /// Not begun: order or package were not acceptable. The terminal is as it was.
    Refused,
    /// Begun and given up; the old OS runs.
    Failed,
    /// Installed, did not prove itself, and was taken back; the old OS runs.
    RolledBack,
    /// Called off by the station before the flag was set.
    Cancelled,
}

impl Outcome {
    /// The protocol's result code (domain family's table 4).
    pub fn code(self) -> u16 {
        match self {
            Outcome::Success => 200,
            Outcome::Refused => 403,
            Outcome::Cancelled => 408,
            Outcome::Failed | Outcome::RolledBack => 500,
        }
    }

    /// The machine's word, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::RolledBack => "rolled-back",
            Outcome::Cancelled => "cancelled",
        }
    }
}

/// The one result of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// How it ended.
    pub outcome: Outcome,
    /// A word for machines, such as `signer-unknown`; `success` where nothing went wrong.
    pub word: String,
    /// What was refused or failed, why, and what to do; for people.
    pub message: String,
    /// Version that runs after the job.
    #[serde(default)]
    pub version_after: Option<String>,
    /// Kernel release that runs after the job.
    #[serde(default)]
    pub kernel_after: Option<String>,
    /// Digest of the parameters after the job.
    #[serde(default)]
    pub parameters_after: Option<String>,
    /// The end of the log of an OS that did not prove itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl JobResult {
    /// A result without what only the running OS knows.
    pub fn new(outcome: Outcome, word: &str, message: impl Into<String>) -> Self {
        JobResult {
            outcome,
            word: word.to_owned(),
            message: message.into(),
            version_after: None,
            kernel_after: None,
            parameters_after: None,
            log: None,
        }
    }
}

/// What is known of the parameters of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParametersRecord {
    /// SHA-256 of the backup file, hexadecimal.
    pub backup_sha256: String,
    /// Digest over the set of parameters, see [`crate::parameters`].
    pub digest: String,
    /// Number of files, folders and links in the set.
    pub entries: u64,
}

/// What RecoveryOS keeps of its tries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// Times that RecoveryOS set to work on this job, power cuts included.
    #[serde(default)]
    pub starts: u32,
    /// Times that it failed for a reason of its own.
    #[serde(default)]
    pub failures: u32,
    /// Set before the first byte of rootfs changes: from then on the old OS is not whole any more.
    #[serde(default)]
    pub rootfs_touched: bool,
    /// Set before the first byte of rootfs changes in a rollback: from then on the new OS is not whole any more.
    #[serde(default)]
    pub rollback_started: bool,
    /// Kernel slot that ran before the job.
    #[serde(default)]
    pub kernel_before: Option<char>,
    /// The last failure, for people.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// What the agent keeps of the upgrade of RecoveryOS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// Letter of the slot that was in charge before; the other one is written.
    pub slot_before: char,
    /// Version of the RecoveryOS in charge before, where it is known.
    #[serde(default)]
    pub version_before: Option<String>,
    /// Version of the RecoveryOS in charge at the end of the job.
    #[serde(default)]
    pub version_after: Option<String>,
    /// Sequence of the boot state that asks for the check, noted before that is written.
    #[serde(default)]
    pub check_seq: Option<u32>,
    /// Checks that were asked for.
    #[serde(default)]
    pub checks: u32,
}

/// A stage of the job that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Such as `download`, `verify`, `backup`, `write-rootfs`, `restore`.
    pub name: String,
    /// How long it took, by a clock that does not jump.
    pub seconds: f64,
    /// Bytes moved, where that says something.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// One upgrade order for this terminal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Job id of the station.
    pub id: i64,
    /// What was ordered.
    pub order: Order,
    /// How far it is.
    pub state: JobState,
    /// OS version that ran when the order came.
    #[serde(default)]
    pub version_before: String,
    /// Kernel release that ran when the order came.
    #[serde(default)]
    pub kernel_before: String,
    /// SHA-256 of the manifest of the package that the agent verified: RecoveryOS takes no other.
    #[serde(default)]
    pub manifest_sha256: Option<String>,
    /// The parameters as backed up.
    #[serde(default)]
    pub parameters: Option<ParametersRecord>,
    /// Reboots that the agent asked for, for the sake of this job.
    #[serde(default)]
    pub reboots: u32,
    /// RecoveryOS's tries.
    #[serde(default)]
    pub attempts: Attempts,
    /// The upgrade of RecoveryOS, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryRecord>,
    /// Stages that are over, in order.
    #[serde(default)]
    pub stages: Vec<Stage>,
}

/// Why there is no job to be had.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file is there but cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The job file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a job: damaged, or of a later format.
    #[error("{path} holds no job: {source}")]
    Damaged {
        /// The job file.
        path: PathBuf,
        /// Where it fails.
        source: serde_json::Error,
    },
}

impl Job {
    /// A job that was just ordered.
    pub fn new(id: i64, order: Order) -> Self {
        Job {
            id,
            order,
            state: JobState::Accepted,
            version_before: String::new(),
            kernel_before: String::new(),
            manifest_sha256: None,
            parameters: None,
            reboots: 0,
            attempts: Attempts::default(),
            recovery: None,
            stages: Vec::new(),
        }
    }

    /// Reads the current job; `None` when there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, JobError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io_error("read", path, source)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| JobError::Damaged {
                path: path.to_owned(),
                source,
            })
    }

    /// Writes the job durably; when this returns, a power cut cannot undo it.
    pub fn save(&self, path: &Path) -> Result<(), JobError> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| io_error("encode", path, error.into()))?;
        dau_system::durable::write(path, &bytes, 0o600)
            .map_err(|source| io_error("write", path, source))
    }

    /// Notes a stage that is over.
    pub fn stage(&mut self, name: &str, seconds: f64, bytes: Option<u64>) {
        self.stages.push(Stage {
            name: name.to_owned(),
            seconds,
            bytes,
        });
    }

    /// Gives the job its result. A job that has one keeps it: there is exactly one.
    pub fn finish(&mut self, result: JobResult) {
        if self.result().is_none() {
            self.state = JobState::Finished {
                result,
                acknowledged: false,
            };
        }
    }

    /// The result, once there is one.
    pub fn result(&self) -> Option<&JobResult> {
        match &self.state {
            JobState::Finished { result, .. } => Some(result),
            _ => None,
        }
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> JobError {
    JobError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let order = Order {
            version: "1.1.0".into(),
            kind: Kind::Full,
            url: "https://station/packages/1".into(),
            token: None,
            md5: None,
            size: None,
            start_at: 0,
            expires_at: None,
            mid: 815,
        };
        Job::new(1_569_582_513_983_943_815, order)
    }

    #[test]
    fn a_job_survives_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.json");
        assert_eq!(Job::load(&path).unwrap(), None);
        let mut job = job();
        job.stage("download", 1.5, Some(7));
        job.state = JobState::RollingBack {
            reason: "no link".into(),
        };
        job.save(&path).unwrap();
        assert_eq!(Job::load(&path).unwrap(), Some(job));
    }

    #[test]
    fn half_a_job_file_is_damaged_not_absent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.json");
        job().save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(matches!(Job::load(&path), Err(JobError::Damaged { .. })));
    }

    #[test]
    fn a_job_written_by_an_older_program_is_read() {
        let old = r#"{"id":1,"order":{"version":"2","kind":"kernel","url":"u"},"state":{"name":"armed"}}"#;
        let job: Job = serde_json::from_str(old).unwrap();
        assert_eq!(
            (job.state, job.attempts),
            (JobState::Armed, Attempts::default())
        );
    }

    #[test]
    fn the_first_result_stays() {
        let mut job = job();
        job.finish(JobResult::new(Outcome::Failed, "disk", "first"));
        job.finish(JobResult::new(Outcome::Success, "success", "second"));
        assert_eq!(
            job.result().map(|result| result.message.as_str()),
            Some("first")
        );
    }
}
