//! Records of agent and RecoveryOS about their work on a job.

use dau_model::{Reason, Slot};
use serde::{Deserialize, Serialize};

/// The backup of a job's parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParametersRecord {
    /// SHA-256 of the backup file, hexadecimal.
    pub backup_sha256: String,
    /// Digest of the set of parameters, see [`crate::parameters`].
    pub digest: String,
    /// Number of files, folders and links in the set.
    pub entries: u64,
}

/// RecoveryOS's record of its attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// Number of starts on this job, power cuts included.
    #[serde(default)]
    pub starts: u32,
    /// Number of failures, power cuts excluded.
    #[serde(default)]
    pub failures: u32,
    /// Set before the first byte of rootfs changes: from then on the old OS is incomplete.
    #[serde(default)]
    pub rootfs_touched: bool,
    /// Set before the first byte of rootfs changes in a rollback: from then on the new OS is
    /// incomplete.
    #[serde(default)]
    pub rollback_started: bool,
    /// Kernel slot that ran before the job.
    #[serde(default)]
    pub kernel_before: Option<Slot>,
    /// The last failure, for people.
    #[serde(default)]
    pub last_error: Option<String>,
}

/// The agent's record of an upgrade of RecoveryOS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryRecord {
    /// The slot that was in charge before; the other one is written.
    pub slot_before: Slot,
    /// Version of the RecoveryOS in charge before, if known.
    #[serde(default)]
    pub version_before: Option<String>,
    /// Version of the RecoveryOS in charge at the end of the job.
    #[serde(default)]
    pub version_after: Option<String>,
    /// Sequence number of the boot state that requests the check, recorded before it is written.
    #[serde(default)]
    pub check_seq: Option<u32>,
    /// Number of requested checks.
    #[serde(default)]
    pub checks: u32,
    /// The result of writing the other slot.
    #[serde(default)]
    pub written: Written,
    /// The reason why the previous RecoveryOS stays in charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Reason>,
    /// The other slot holds the previous RecoveryOS again, as far as possible.
    #[serde(default)]
    pub restored: bool,
}

impl RecoveryRecord {
    /// Returns a record of the RecoveryOS in charge, before any work.
    pub fn new(slot_before: Slot, version_before: Option<String>) -> Self {
        RecoveryRecord {
            slot_before,
            version_before,
            version_after: None,
            check_seq: None,
            checks: 0,
            written: Written::No,
            kept: None,
            restored: false,
        }
    }
}

/// The result of writing a new RecoveryOS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Written {
    /// Not written.
    #[default]
    No,
    /// The slot that is not in charge holds it.
    Slot,
    /// It was in charge already.
    InCharge,
}

/// The agent's record of work that it begins, removed once the agent has survived it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkRecord {
    /// Id of the boot in which the work began: `/proc/sys/kernel/random/boot_id`.
    #[serde(default)]
    pub boot: String,
    /// Bytes of the package that existed then.
    #[serde(default)]
    pub bytes: u64,
    /// Times in a row that such work ended the agent in this boot.
    #[serde(default)]
    pub ends: u32,
    /// Times in a row that it was in progress when another boot began, without any gain.
    #[serde(default)]
    pub boots: u32,
}

/// A finished stage of the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Name, such as `download`, `verify`, `backup`, `write-rootfs`, `restore`.
    pub name: String,
    /// Duration in seconds, by a clock that does not jump.
    pub seconds: f64,
    /// Bytes moved, if meaningful.
    #[serde(default)]
    pub bytes: Option<u64>,
}
