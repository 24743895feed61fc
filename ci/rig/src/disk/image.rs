//! A terminal's disk in a file, and its partitions.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use serde::Deserialize;

use super::ext4::Ext4;
use super::handoff::Handoff;
use crate::process::{run, tool};

/// A disk image with a GPT.
#[derive(Debug, Clone)]
pub struct Disk {
    path: PathBuf,
}

/// The place of a partition on its disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Length.
    pub size: u64,
}

/// The used part of `sfdisk -J`'s output.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct Table {
    partitiontable: Partitions,
}

#[derive(Deserialize)]
struct Partitions {
    sectorsize: u64,
    partitions: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    start: u64,
    size: u64,
    #[serde(default)]
    name: String,
}

impl Disk {
    /// Returns the disk in the image file `path`.
    pub fn new(path: PathBuf) -> Self {
        Disk { path }
    }

    /// Makes a sparse copy.
    pub fn copy_to(&self, path: &Path) -> Result<Disk> {
        run(tool("cp")
            .args(["--sparse=always"])
            .arg(&self.path)
            .arg(path))?;
        Ok(Disk::new(path.to_owned()))
    }

    /// Returns the image file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds a partition by label.
    pub fn partition(&self, label: &str) -> Result<Extent> {
        let output = run(tool("sfdisk").arg("-J").arg(&self.path))?;
        let table: Table = serde_json::from_slice(&output.stdout)?;
        let table = table.partitiontable;
        let entry = table.partitions.iter().find(|entry| entry.name == label);
        let entry =
            entry.with_context(|| format!("{} has no partition '{label}'", self.path.display()))?;
        Ok(Extent {
            start: entry.start * table.sectorsize,
            size: entry.size * table.sectorsize,
        })
    }

    /// Opens a copy of an ext4 partition and replays its journal, as is needed after a power cut.
    pub fn ext4(&self, label: &str) -> Result<Ext4> {
        Ext4::copy(self.extract(self.partition(label)?)?)
    }

    /// Changes an ext4 partition after a power cut. e2fsck cannot replay a journal at an offset, so
    /// a copy is changed and the differences are written back.
    pub fn change_ext4(&self, label: &str, change: impl FnOnce(&Ext4) -> Result<()>) -> Result<()> {
        const CHUNK: usize = 1 << 20;
        let extent = self.partition(label)?;
        let copy = self.extract(extent)?;
        change(&Ext4::image(copy.path())?)?;
        let disk = File::options().read(true).write(true).open(&self.path)?;
        let changed = File::open(copy.path())?;
        let (mut old, mut new) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut at = 0;
        while at < extent.size {
            let piece = usize::try_from((extent.size - at).min(CHUNK as u64))?;
            let (old, new) = (&mut old[..piece], &mut new[..piece]);
            disk.read_exact_at(old, extent.start + at)?;
            changed.read_exact_at(new, at)?;
            if old != new {
                disk.write_all_at(new, extent.start + at)?;
            }
            at += piece as u64;
        }
        Ok(())
    }

    /// Opens an ext4 partition in place, to change it; the terminal must have been shut down or
    /// never have run.
    pub fn ext4_in_place(&self, label: &str) -> Result<Ext4> {
        Ext4::partition(&self.path, self.partition(label)?.start)
    }

    /// Opens a copy of mnt to read the files of agent and RecoveryOS.
    pub fn handoff(&self) -> Result<Handoff> {
        Ok(Handoff::new(self.ext4(dau_system::MNT_LABEL)?))
    }

    /// Reads the first `length` bytes of a partition.
    pub fn read(&self, label: &str, length: u64) -> Result<Vec<u8>> {
        let extent = self.partition(label)?;
        ensure!(
            length <= extent.size,
            "{label} is smaller than {length} bytes"
        );
        let mut bytes = vec![0; usize::try_from(length)?];
        File::open(&self.path)?.read_exact_at(&mut bytes, extent.start)?;
        Ok(bytes)
    }

    /// Overwrites a part of the disk with zeros.
    pub fn blank(&self, start: u64, length: u64) -> Result<()> {
        let disk = File::options().write(true).open(&self.path)?;
        disk.write_all_at(&vec![0; usize::try_from(length)?], start)?;
        Ok(())
    }

    /// Copies a partition to a sparse file.
    pub fn extract(&self, extent: Extent) -> Result<tempfile::NamedTempFile> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let copy = tempfile::NamedTempFile::new_in(folder)?;
        let mut command = tool("dd");
        command
            .args(["bs=1M", "conv=sparse", "iflag=skip_bytes,count_bytes"])
            .arg(format!("if={}", self.path.display()))
            .arg(format!("of={}", copy.path().display()))
            .arg(format!("skip={}", extent.start))
            .arg(format!("count={}", extent.size));
        run(&mut command)?;
        Ok(copy)
    }
}
