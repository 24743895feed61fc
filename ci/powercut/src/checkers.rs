//! The file systems' own checkers: they must report nothing that a mount does not repair.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Result};
use dau_rig::process::tool;

use crate::image::Image;
use crate::partition::Partition;
use crate::recorded::Recorded;
use crate::scratch::Scratch;
use crate::sparse::restore;

/// A file with an ext4 partition, repaired as a mount would.
#[derive(Debug)]
pub struct Repaired {
    scratch: Scratch,
    copy: PathBuf,
    copy_file: File,
    partition: Partition,
    /// The key of the partition in the file, and whether the repair succeeded.
    held: Option<(u64, Result<(), String>)>,
}

impl Repaired {
    pub fn new(recorded: &Recorded, partition: Partition, folder: &Path) -> Result<Self> {
        let copy = folder.join(format!("{}-repaired", partition.label()));
        Ok(Repaired {
            scratch: Scratch::new(recorded, partition, folder)?,
            copy_file: File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&copy)?,
            copy,
            partition,
            held: None,
        })
    }

    /// Returns the file, holding this disk's partition.
    pub fn of(&mut self, image: &Image) -> Result<Result<&Path, String>> {
        let key = image.key(self.partition);
        if self.held.as_ref().is_none_or(|(held, _)| *held != key) {
            let source = self.scratch.of(image)?;
            self.held = None;
            restore(&File::open(source)?, &self.copy_file)?;
            let repaired = repair(&self.copy).map_err(|error| format!("{error:#}"));
            self.held = Some((key, repaired));
        }
        Ok(match &self.held {
            Some((_, Err(error))) => Err(error.clone()),
            _ => Ok(&self.copy),
        })
    }
}

/// Replays the journal of an ext4 file system and removes orphans, as every mount does. Fails if
/// more must be repaired.
pub fn repair(image: &Path) -> Result<()> {
    let preen = tool("e2fsck").arg("-p").arg(image).output()?;
    let output = String::from_utf8_lossy(&preen.stdout).into_owned();
    // An earlier mount recorded an error that the journal does not repair.
    ensure!(
        !output.contains("contains a file system with errors"),
        "{output}"
    );
    ensure!(
        preen.status.code().is_some_and(|code| code <= 1),
        "{output}"
    );
    Ok(())
}

/// Checks an ext4 file system after its repair, without changing it.
pub fn check(image: &Path) -> Result<()> {
    let check = tool("e2fsck").args(["-f", "-n"]).arg(image).output()?;
    let output = String::from_utf8_lossy(&check.stdout);
    ensure!(check.status.success(), "{output}");
    Ok(())
}
