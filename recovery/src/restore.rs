//! The parameters: their backup is checked before anything changes, and put back after rootfs was written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use dau_boot_state::fit;
use dau_boot_state::slot::hex;
use dau_handoff::parameters::{self, ParametersError};
use dau_handoff::{Job, Layout};

use crate::plan::Verdict;
use crate::terminal::Terminal;

/// A backup that was found whole.
#[derive(Debug, Clone)]
pub struct Backup {
    tar: PathBuf,
    /// Digest over the parameters, where the job tells it.
    digest: Option<String>,
}

/// Checks the backup of a job.
///
/// # Errors
/// What says nothing about the backup, such as a read error.
pub fn of_job(layout: &Layout, job: &Job) -> Result<Result<Backup, Verdict>> {
    let (tar, digest_file) = (layout.backup(job.id), layout.backup_digest(job.id));
    let Some(record) = &job.parameters else {
        return Ok(Err(refused(
            "no-backup",
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
            Ok(Err(refused("no-backup", &message)))
        }
        Err(error @ ParametersError::Io { .. }) => Err(error.into()),
        Err(error) => Ok(Err(refused("backup-damaged", &error.to_string()))),
    }
}

/// The newest whole backup, for when no job says which.
pub fn newest(layout: &Layout) -> Result<Result<Backup, Verdict>> {
    let mut found = Vec::new();
    if let Ok(entries) = fs::read_dir(layout.backups()) {
        for entry in entries.flatten() {
            let path = entry.path();
            let is_backup = path.extension().is_some_and(|extension| extension == "tar");
            if let (true, Ok(time)) = (is_backup, entry.metadata().and_then(|data| data.modified()))
            {
                found.push((time, path));
            }
        }
    }
    found.sort();
    for (_, tar) in found.into_iter().rev() {
        match matches_digest_file(&tar) {
            Ok(true) => return Ok(Ok(Backup { tar, digest: None })),
            Ok(false) => log::warn!("{} does not match its digest", tar.display()),
            Err(error) => log::warn!("{}: {error:#}", tar.display()),
        }
    }
    Ok(Err(refused(
        "no-backup",
        "there is no whole backup of the parameters",
    )))
}

fn matches_digest_file(tar: &Path) -> Result<bool> {
    let mut name = tar.as_os_str().to_owned();
    name.push(".sha256");
    let line = fs::read_to_string(Path::new(&name))?;
    let file = fs::File::open(tar)?;
    let found = hex(&fit::digest(&file, 0, file.metadata()?.len())?);
    Ok(line.split_ascii_whitespace().next() == Some(found.as_str()))
}

/// Puts the parameters back into the root filesystem, and compares them with the backup as they stand on the medium.
pub fn restore(terminal: &Terminal, backup: &Backup) -> Result<()> {
    let root = terminal.rootfs_files.open()?;
    terminal.cut.point();
    let restored = parameters::restore(&backup.tar, root.path())?;
    // Unmounting drops what is cached: what is compared comes from the medium.
    nix::unistd::sync();
    root.close()?;
    if let Some(expected) = &backup.digest {
        ensure!(
            restored.digest == *expected,
            "the parameters were put back with digest {}, but were backed up with {expected}",
            restored.digest
        );
    }
    let root = terminal.rootfs_files.open()?;
    let compared =
        parameters::compare(root.path(), &backup.tar).context("cannot read the parameters back")?;
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
    Ok(())
}

fn refused(word: &str, message: &str) -> Verdict {
    Verdict::Refused {
        word: word.to_owned(),
        message: message.to_owned(),
    }
}
