//! Media that fail, as QEMU's driver blkdebug is told.

use crate::disk::Extent;

/// Places of the disk where the medium fails.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What fails there.
    pub access: Access,
    /// Whether it fails once in each place, or always.
    pub once: bool,
    /// First bytes of the sectors that fail, on the disk: a request fails that touches one of them.
    pub sectors: Vec<u64>,
}

/// What a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// What the system reads and writes on ext4 at the least, in bytes.
pub const BLOCK: u64 = 4096;
/// The same on FAT.
pub const SECTOR: u64 = 512;

impl Fault {
    /// Everywhere in a part of the disk that is read and written in requests of `unit` bytes.
    pub fn all_of(extent: Extent, unit: u64, access: Access) -> Self {
        let sectors = (extent.start..extent.start + extent.size).step_by(unit as usize);
        Fault {
            access,
            once: false,
            sectors: sectors.collect(),
        }
    }

    /// As blkdebug reads it.
    pub(super) fn rules(&self) -> String {
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        let once = if self.once { "on" } else { "off" };
        let rule = |start: &u64| {
            let sector = start / SECTOR;
            format!("[inject-error]\nevent = \"none\"\niotype = \"{access}\"\nonce = \"{once}\"\nsector = \"{sector}\"\n")
        };
        self.sectors.iter().map(rule).collect()
    }
}
