//! The FAT partition boot: kernels, RecoveryOS, boot state.

use std::path::Path;

use anyhow::{ensure, Context, Result};
use dau_boot_state::{newest, BootState, COPY_NAMES};

use super::image::{Disk, Extent};
use crate::process::{run, tool};

/// Output of fsck.fat that is no fault: for a file system in use when the power was cut (dirty bit,
/// count of free clusters, an outdated second FAT: Linux and U-Boot read the first), and for any
/// other.
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

impl Disk {
    /// Reads a file of the partition boot; `None` if it does not exist.
    pub fn boot_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let extent = self.partition(dau_system::BOOT_LABEL)?;
        let image = format!("{}@@{}", self.path().display(), extent.start);
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

    /// Returns the valid boot state; an error if neither copy is valid.
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

    /// Checks the file system of boot without repairing it, ignoring traces of a power cut that do
    /// not matter to a mount.
    pub fn check_boot(&self) -> Result<()> {
        let extent = self.partition(dau_system::BOOT_LABEL)?;
        let copy = self.extract(extent)?;
        check_fat(copy.path())
    }

    /// Returns the places of a boot file on the disk.
    pub fn boot_extents(&self, name: &str) -> Result<Vec<Extent>> {
        let extent = self.partition(dau_system::BOOT_LABEL)?;
        let image = format!("{}@@{}", self.path().display(), extent.start);
        // "<0-7>" or "<0> <3-4>": ranges of clusters, which begin with number 2.
        let shown = run(tool("mshowfat").args(["-i", &image, &format!("::{name}")]))?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let header = self.read(dau_system::BOOT_LABEL, 512)?;
        let number = |at: usize, length: usize| -> u64 {
            let bytes = header[at..at + length].iter().rev();
            bytes.fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        // FAT32's header (Microsoft's fatgen103): bytes per sector, sectors per cluster, reserved
        // sectors, FATs, sectors per FAT.
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
}

/// Checks the FAT file system in an image file without repairing it, ignoring traces of a power cut
/// that do not matter to a mount.
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
