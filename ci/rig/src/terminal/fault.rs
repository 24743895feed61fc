//! Media faults, emulated by QEMU's driver blkdebug.

use crate::disk::Extent;

/// Faulty sectors of a disk.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The access that fails.
    pub access: Access,
    /// Whether each sector fails once or always.
    pub once: bool,
    /// Byte offsets of the faulty sectors on the disk; any request that touches one of them fails.
    pub sectors: Vec<u64>,
}

/// The kind of access that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

/// The system's smallest request on ext4, bytes.
pub const BLOCK: u64 = 4096;
/// The system's smallest request on FAT, bytes.
pub const SECTOR: u64 = 512;

impl Fault {
    /// Makes a part of the disk faulty everywhere; `unit`: the system's smallest request there,
    /// bytes.
    pub fn all_of(extent: Extent, unit: u64, access: Access) -> Self {
        let sectors = (extent.start..extent.start + extent.size).step_by(unit as usize);
        Fault {
            access,
            once: false,
            sectors: sectors.collect(),
        }
    }

    /// Returns the rules in blkdebug's form.
    pub(super) fn rules(&self) -> String {
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        let once = if self.once { "on" } else { "off" };
        let rule = |start: &u64| {
            let sector = start / SECTOR;
            format!(
                "[inject-error]\nevent = \"none\"\niotype = \"{access}\"\nonce = \"{once}\"\n\
                 sector = \"{sector}\"\n"
            )
        };
        self.sectors.iter().map(rule).collect()
    }
}
