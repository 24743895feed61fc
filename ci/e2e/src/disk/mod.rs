//! What stands on a terminal's disk while it is off; everything by an ordinary user, nothing mounted.

mod ext4;
mod handoff;

pub use ext4::Ext4;
pub use handoff::Handoff;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use dau_boot_state::{newest, BootState, COPY_NAMES};
use serde::Deserialize;

use crate::process::{run, tool};

/// What fsck.fat says of a file system that was mounted when power went (dirty bit, count of free clusters, a second FAT that lags
/// behind: Linux and U-Boot read the first), and of any.
const FSCK_FAT_HARMLESS: [&str; 13] = [
    "FATs differ but appear to be intact.",
    "Using first FAT.",
    "fsck.fat ",
    "There are differences between boot sector and its backup.",
    "This is mostly harmless.",
    "  65:01/00",
    "Not automatically fixing this.",
    "Dirty bit is set.",
    "Automatically removing dirty bit.",
    "Free cluster summary wrong",
    "Auto-correcting.",
    "Leaving filesystem unchanged.",
    " files, ",
];

/// A disk image with a GPT.
#[derive(Debug, Clone)]
pub struct Disk {
    path: PathBuf,
}

/// Where a partition lies on its disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Length.
    pub size: u64,
}

/// Output of `sfdisk -J`, as far as it is needed.
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
    /// The disk in a file.
    pub fn new(path: PathBuf) -> Self {
        Disk { path }
    }

    /// A copy of this disk's file that takes no room where there are zeros.
    pub fn copy_to(&self, path: &Path) -> Result<Disk> {
        run(tool("cp")
            .args(["--sparse=always"])
            .arg(&self.path)
            .arg(path))?;
        Ok(Disk::new(path.to_owned()))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the partition labelled `label` lies.
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

    /// A file on the FAT partition labelled boot; `None` where there is none.
    pub fn boot_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let extent = self.partition(dau_system::BOOT_LABEL)?;
        let image = format!("{}@@{}", self.path.display(), extent.start);
        let output = tool("mtype")
            .args(["-i", &image, &format!("::{name}")])
            .output()?;
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            message.contains("not found"),
            "cannot read {name} from boot: {message}"
        );
        Ok(None)
    }

    /// The boot state that counts; an error when neither copy is valid.
    pub fn boot_state(&self) -> Result<BootState> {
        let mut copies = Vec::new();
        for name in COPY_NAMES {
            let bytes = self.boot_file(name)?.unwrap_or_default();
            copies.push(BootState::decode(&bytes).ok());
        }
        let index = newest(copies[0].as_ref(), copies[1].as_ref());
        let state = index.and_then(|index| copies.swap_remove(index));
        state.context("neither copy of the boot state is valid")
    }

    /// Checks the FAT file system without mending it. What a power cut leaves and no mount minds is no fault.
    pub fn check_boot(&self) -> Result<()> {
        let extent = self.partition(dau_system::BOOT_LABEL)?;
        let copy = self.extract(extent)?;
        check_fat(copy.path())
    }

    /// The ext4 partition `label` of a terminal that may have lost power: a copy whose journal was replayed, so this disk
    /// stays as it is.
    pub fn ext4(&self, label: &str) -> Result<Ext4> {
        Ext4::copy(self.extract(self.partition(label)?)?)
    }

    /// Changes the ext4 partition `label` of a terminal that may have lost power. e2fsck cannot replay a journal at an offset,
    /// so a copy is changed and what differs is written back.
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

    /// The ext4 partition `label` itself, to be changed, of a terminal that was shut down or never ran.
    pub fn ext4_in_place(&self, label: &str) -> Result<Ext4> {
        Ext4::partition(&self.path, self.partition(label)?.start)
    }

    /// What agent and RecoveryOS left on mnt.
    pub fn handoff(&self) -> Result<Handoff> {
        Ok(Handoff::new(self.ext4(dau_system::MNT_LABEL)?))
    }

    /// The first `length` bytes of the partition `label`.
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

    /// Overwrites a part of the disk by zeros.
    pub fn blank(&self, start: u64, length: u64) -> Result<()> {
        let disk = File::options().write(true).open(&self.path)?;
        disk.write_all_at(&vec![0; usize::try_from(length)?], start)?;
        Ok(())
    }

    /// Where a file of the FAT partition labelled boot lies on the disk.
    pub fn boot_extents(&self, name: &str) -> Result<Vec<Extent>> {
        let extent = self.partition(dau_system::BOOT_LABEL)?;
        let image = format!("{}@@{}", self.path.display(), extent.start);
        // "<0-7>" or "<0> <3-4>": ranges of clusters, which begin with number 2.
        let shown = run(tool("mshowfat").args(["-i", &image, &format!("::{name}")]))?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let header = self.read(dau_system::BOOT_LABEL, 512)?;
        let number = |at: usize, length: usize| -> u64 {
            let bytes = header[at..at + length].iter().rev();
            bytes.fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        // FAT32's header (Microsoft's fatgen103): bytes a sector, sectors a cluster, reserved, FATs, sectors a FAT.
        let sector = number(11, 2);
        let cluster = number(13, 1) * sector;
        let data = extent.start + (number(14, 2) + number(16, 1) * number(36, 4)) * sector;
        let ranges = shown
            .split('<')
            .skip(1)
            .filter_map(|part| part.split('>').next());
        ranges
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let (first, last): (u64, u64) = (first.trim().parse()?, last.trim().parse()?);
                Ok(Extent {
                    start: data + (first - 2) * cluster,
                    size: (last - first + 1) * cluster,
                })
            })
            .collect()
    }

    /// A sparse copy of a partition.
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

/// Checks the FAT file system in an image file without mending it. What a power cut leaves and no mount minds is no fault.
pub fn check_fat(image: &Path) -> Result<()> {
    let output = tool("fsck.fat").arg("-n").arg(image).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let harmless = |line: &&str| FSCK_FAT_HARMLESS.iter().any(|known| line.contains(known));
    let faults = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !harmless(line));
    ensure!(
        matches!(output.status.code(), Some(0 | 1)) && faults.count() == 0,
        "fsck.fat finds faults on boot:\n{text}"
    );
    Ok(())
}
