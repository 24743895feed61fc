//! The file systems' own checkers: they must find nothing that a mount does not mend.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Result};
use dau_e2e::process::tool;

use crate::image::{Image, Scratch};
use crate::recorded::{Area, Recorded};
use crate::sparse::bring_back;

/// An ext4 partition in a file, as a mount would mend it.
#[derive(Debug)]
pub struct Mended {
    scratch: Scratch,
    copy: PathBuf,
    copy_file: File,
    area: Area,
    /// What the file holds: the partition's key, and whether it could be mended.
    held: Option<(u64, Result<(), String>)>,
}

impl Mended {
    /// A file in `folder`.
    pub fn new(recorded: &Recorded, area: Area, folder: &Path) -> Result<Self> {
        let copy = folder.join(format!("{}-mended", area.label()));
        Ok(Mended {
            scratch: Scratch::new(recorded, area, folder)?,
            copy_file: File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&copy)?,
            copy,
            area,
            held: None,
        })
    }

    /// The file, with the partition of this disk.
    pub fn of(&mut self, image: &Image) -> Result<Result<&Path, String>> {
        let key = image.key(self.area);
        if self.held.as_ref().is_none_or(|(held, _)| *held != key) {
            let source = self.scratch.of(image)?;
            self.held = None;
            bring_back(&File::open(source)?, &self.copy_file)?;
            let mended = mend(&self.copy).map_err(|error| format!("{error:#}"));
            self.held = Some((key, mended));
        }
        Ok(match &self.held {
            Some((_, Err(error))) => Err(error.clone()),
            _ => Ok(&self.copy),
        })
    }
}

/// Replays the journal of an ext4 file system and lets go of orphans, as every mount does. Fails where more is to be done.
pub fn mend(image: &Path) -> Result<()> {
    let preen = tool("e2fsck").arg("-p").arg(image).output()?;
    let said = String::from_utf8_lossy(&preen.stdout).into_owned();
    // Told to the kernel by an earlier mount: it found what a journal does not mend.
    ensure!(
        !said.contains("contains a file system with errors"),
        "{said}"
    );
    ensure!(preen.status.code().is_some_and(|code| code <= 1), "{said}");
    Ok(())
}

/// Checks an ext4 file system that was mended; it stays as it is.
pub fn check(image: &Path) -> Result<()> {
    let check = tool("e2fsck").args(["-f", "-n"]).arg(image).output()?;
    let said = String::from_utf8_lossy(&check.stdout);
    ensure!(check.status.success(), "{said}");
    Ok(())
}
