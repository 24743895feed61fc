//! The parameters: their backup is checked before anything changes, and restored after rootfs was
//! written.

use std::path::PathBuf;

use anyhow::{ensure, Context, Result};
use dau_handoff::parameters::{self, Lacking, ParametersError};
use dau_handoff::{Job, Layout};
use dau_model::{Reason, Word};

use crate::terminal::Terminal;

/// A verified backup.
#[derive(Debug, Clone)]
pub struct Backup {
    tar: PathBuf,
    /// The digest of the parameters, if the job has it.
    digest: Option<String>,
}

/// Checks the backup of a job.
///
/// # Errors
/// A fault that does not concern the backup, such as a read error.
pub fn of_job(layout: &Layout, job: &Job) -> Result<Result<Backup, Reason>> {
    let (tar, digest_file) = (layout.backup(job.id), layout.backup_digest(job.id));
    let Some(record) = &job.parameters else {
        return Ok(Err(Reason::new(
            Word::NoBackup,
            "the job has no backup of the parameters",
        )));
    };
    match parameters::read_back(&tar, &digest_file, record) {
        Ok(()) => Ok(Ok(Backup {
            tar,
            digest: Some(record.digest.clone()),
        })),
        Err(ParametersError::Io { source, path, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            let message = format!("{} is missing", path.display());
            Ok(Err(Reason::new(Word::NoBackup, message)))
        }
        Err(error @ ParametersError::Io { .. }) => Err(error.into()),
        Err(error) => Ok(Err(Reason::new(Word::BackupDamaged, error.to_string()))),
    }
}

/// Returns the newest intact backup, for use without a job.
pub fn newest(layout: &Layout) -> Result<Result<Backup, Reason>> {
    let found = layout.all_backups().unwrap_or_else(|error| {
        log::warn!("{}: {error}", layout.backups().display());
        Vec::new()
    });
    for (tar, digest_file) in found.into_iter().rev() {
        match parameters::matches_digest_file(&tar, &digest_file) {
            Ok(true) => return Ok(Ok(Backup { tar, digest: None })),
            Ok(false) => log::warn!("{} does not match its digest", tar.display()),
            Err(error) => log::warn!("{error}"),
        }
    }
    Ok(Err(Reason::new(
        Word::NoBackup,
        "there is no whole backup of the parameters",
    )))
}

/// The handling of a parameter that cannot be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// The restoration fails, as there is another OS to return to.
    Fail,
    /// It is left out unless it is required, as there is no other OS.
    LeaveOut,
}

/// Restores the parameters to the root filesystem, and compares them with the backup on the medium.
/// Returns the parameters left out, as a text for people.
pub fn restore(terminal: &Terminal, backup: &Backup, faults: Faults) -> Result<Option<String>> {
    let root = terminal.rootfs_files.open()?;
    terminal.failpoint.hit();
    let restored = match faults {
        Faults::Fail => parameters::restore(&backup.tar, root.path())?,
        Faults::LeaveOut => parameters::restore_what_can_be(&backup.tar, root.path())?,
    };
    // Unmounting drops the cache, so that the comparison reads the medium.
    nix::unistd::sync();
    root.close()?;
    let lacking = left_out(&restored.lacking);
    if let (Some(expected), None) = (&backup.digest, &lacking) {
        ensure!(
            restored.digest == *expected,
            "the parameters were put back with digest {}, but were backed up with {expected}",
            restored.digest
        );
    }
    let root = terminal.rootfs_files.open()?;
    let compared = parameters::compare_restored(root.path(), &backup.tar, &restored)
        .context("cannot read the parameters back")?;
    root.close()?;
    ensure!(
        compared.changed.is_empty() && compared.digest == restored.digest,
        "parameters read back differently from what was put back: {:?}",
        compared.changed
    );
    log::info!(
        "{} parameters put back, digest {}",
        restored.entries,
        restored.digest
    );
    Ok(lacking)
}

/// Lists the missing parameters, as far as a result has room.
fn left_out(lacking: &Lacking) -> Option<String> {
    let named: Vec<_> = (lacking.first.iter())
        .map(|(path, why)| format!("{} ({why})", path.display()))
        .collect();
    let more = match lacking.count().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{}{more}", named.join(", "))).filter(|_| lacking.count() > 0)
}
