//! The applications' parameters: backed up in the normal OS, restored by RecoveryOS.
//!
//! Format and rules: docs/formats/parameters.md. All of it streams: memory does not grow with the
//! content of the files, and no more than [`MAX_ENTRIES`] of them are taken.

mod archive;
mod backup;
mod digest;
mod entry;
mod error;
mod expand;
mod inroot;
mod list;
mod measure;
mod restore;
mod sparse;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use error::ParametersError;
pub use list::{ParameterSet, LISTS_DIR};
pub use measure::Measured;

use crate::ParametersRecord;

/// The most files, folders and links that a backup holds.
pub const MAX_ENTRIES: u64 = 50_000;

/// Name of the file that becomes a parameter once it is complete; no parameter has this name.
const TEMPORARY: &str = ".dau-restore.tmp";

/// The parameters that [`restore`] or [`restore_what_can_be`] put back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Number of files, folders and links.
    pub entries: u64,
    /// Digest over them, to be compared with [`ParametersRecord::digest`] where nothing lacks.
    pub digest: String,
    /// The parameters that could not be put back.
    pub lacking: Lacking,
}

/// Parameters that could not be put back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacking {
    /// The first of them and why, at most [`MAX_CHANGED`].
    pub first: Vec<(PathBuf, String)>,
    /// All of them, by their number in the backup.
    numbers: BTreeSet<u64>,
}

impl Lacking {
    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }
}

/// The comparison of the parameters on a root with a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Digest over the paths of the backup as they are on the root now.
    pub digest: String,
    /// The first paths that differ, at most [`MAX_CHANGED`]; empty when all is as in the backup.
    pub changed: Vec<PathBuf>,
}

/// The most differing paths that a [`Comparison`] names.
pub const MAX_CHANGED: usize = 16;

/// Measures the parameters of the system on `root`, to be compared with the room on mnt and on the
/// new root filesystem before anything is written.
pub fn measure(root: &Path, set: &ParameterSet) -> Result<Measured, ParametersError> {
    measure::measure(root, set)
}

/// Writes the parameters of the system on `root` to `tar`, and the digest file that `sha256sum -c`
/// reads.
///
/// Both are on the medium when this returns; when it fails, nothing of the new one takes room. A
/// set that matches nothing gives an empty backup.
///
/// # Errors
/// A list names a link to a folder, or something cannot be read or written.
pub fn backup(
    root: &Path,
    set: &ParameterSet,
    tar: &Path,
    digest_file: &Path,
) -> Result<ParametersRecord, ParametersError> {
    backup::backup(root, set, tar, digest_file)
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

/// Returns whether a backup has the SHA-256 of its digest file. This is less than [`read_back`],
/// for when there is no record.
pub fn matches_digest_file(tar: &Path, digest_file: &Path) -> Result<bool, ParametersError> {
    verify::matches_digest_file(tar, digest_file)
}

/// Puts a backup back into the system on `root` (mounted, its applications not running).
///
/// Nothing outside `root` is touched, whatever the backup says. What the backup does not hold stays
/// as it is.
pub fn restore(tar: &Path, root: &Path) -> Result<Restored, ParametersError> {
    restore::restore(tar, root)
}

/// [`restore`], for when there is no other OS to fall back to: a file, folder or link that cannot
/// be put back is left out, unless its list calls it required. Required ones come first, so that
/// they find the room that there is.
///
/// # Errors
/// A required one cannot be put back, or the fault is none of a single file's: the backup or the
/// medium.
pub fn restore_what_can_be(tar: &Path, root: &Path) -> Result<Restored, ParametersError> {
    restore::restore_what_can_be(tar, root)
}

/// [`compare`], but for what [`restore_what_can_be`] left out.
pub fn compare_restored(
    root: &Path,
    tar: &Path,
    restored: &Restored,
) -> Result<Comparison, ParametersError> {
    verify::compare(root, tar, &restored.lacking)
}

/// Compares the system on `root` with a backup, over the paths that the backup holds.
pub fn compare(root: &Path, tar: &Path) -> Result<Comparison, ParametersError> {
    verify::compare(root, tar, &Lacking::default())
}

/// The digest part of [`compare`].
pub fn digest_of_backup_set(root: &Path, tar: &Path) -> Result<String, ParametersError> {
    compare(root, tar).map(|comparison| comparison.digest)
}
