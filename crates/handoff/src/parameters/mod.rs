//! What the applications were set to: captured in the normal OS, put back by RecoveryOS.
//!
//! Format and rules: docs/formats/parameters.md. All of it streams: memory does not grow with the content
//! of the files, and no more than [`MAX_ENTRIES`] of them are taken.

mod archive;
mod capture;
mod digest;
mod entry;
mod error;
mod expand;
mod inroot;
mod list;
mod putback;
#[cfg(test)]
mod tests;
mod verify;

use std::path::{Path, PathBuf};

pub use error::ParametersError;
pub use list::{ParameterSet, LISTS_DIR};

use crate::ParametersRecord;

/// The most files, folders and links that a backup holds.
pub const MAX_ENTRIES: u64 = 50_000;

/// Name of the file that becomes a parameter once it is complete; no parameter has this name.
const TEMPORARY: &str = ".dau-restore.tmp";

/// What [`restore`] put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Number of files, folders and links.
    pub entries: u64,
    /// Digest over them, to be compared with [`ParametersRecord::digest`].
    pub digest: String,
}

/// How the parameters on a root compare with a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Digest over the paths of the backup as they are on the root now.
    pub digest: String,
    /// The first paths that differ, at most [`MAX_CHANGED`]; empty when all is as in the backup.
    pub changed: Vec<PathBuf>,
}

/// How many differing paths a [`Comparison`] names.
pub const MAX_CHANGED: usize = 16;

/// Writes the parameters of the system on `root` to `tar`, and the digest file that `sha256sum -c` reads.
///
/// Both are on the medium when this returns. A set that matches nothing gives an empty backup.
pub fn backup(
    root: &Path,
    set: &ParameterSet,
    tar: &Path,
    digest_file: &Path,
) -> Result<ParametersRecord, ParametersError> {
    capture::backup(root, set, tar, digest_file)
}

/// Reads a backup back from the medium and compares it with its digest file and the record.
///
/// RecoveryOS calls it before [`restore`]: mnt carries no signature.
pub fn read_back(
    tar: &Path,
    digest_file: &Path,
    record: &ParametersRecord,
) -> Result<(), ParametersError> {
    verify::read_back(tar, digest_file, record)
}

/// Puts a backup back into the system on `root` (mounted, its applications not running).
///
/// Nothing outside `root` is touched, whatever the backup says. What the backup does not hold stays as it is.
pub fn restore(tar: &Path, root: &Path) -> Result<Restored, ParametersError> {
    putback::restore(tar, root)
}

/// Compares the system on `root` with a backup, over the paths that the backup holds.
pub fn compare(root: &Path, tar: &Path) -> Result<Comparison, ParametersError> {
    verify::compare(root, tar)
}

/// The digest part of [`compare`].
pub fn digest_of_backup_set(root: &Path, tar: &Path) -> Result<String, ParametersError> {
    compare(root, tar).map(|comparison| comparison.digest)
}
