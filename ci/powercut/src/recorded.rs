//! A recording, ready to be cut anywhere.

use std::fs::File;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use dau_e2e::disk::{Disk, Extent};

use crate::record::{Folder, Notes};
use crate::write_log::{Request, Write, WriteLog, SECTOR};

/// A partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// FAT32: what U-Boot reads.
    Boot,
    /// ext4: the normal OS.
    Rootfs,
    /// ext4: what agent and RecoveryOS leave each other.
    Mnt,
}

impl Area {
    /// All of them.
    pub const ALL: [Area; 3] = [Area::Boot, Area::Rootfs, Area::Mnt];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Area::Boot => dau_system::BOOT_LABEL,
            Area::Rootfs => dau_system::ROOTFS_LABEL,
            Area::Mnt => dau_system::MNT_LABEL,
        }
    }
}

/// A recording: the disk before the first write, and the writes.
#[derive(Debug)]
pub struct Recorded {
    /// What is known about it.
    pub notes: Notes,
    /// The disk before the first write.
    pub base: File,
    /// Length of the disk, bytes.
    pub size: u64,
    /// The writes.
    pub log: WriteLog,
    partitions: [Extent; 3],
}

impl Recorded {
    /// Opens a recording.
    pub fn open(folder: &Folder) -> Result<Self> {
        let notes = folder
            .notes()?
            .with_context(|| format!("{} holds no recording", folder.0.display()))?;
        Self::new(notes, &folder.base(), WriteLog::load(&folder.log())?)
    }

    fn new(notes: Notes, base: &Path, log: WriteLog) -> Result<Self> {
        let disk = Disk::new(base.to_owned());
        let mut partitions = [Extent { start: 0, size: 0 }; 3];
        for (extent, area) in partitions.iter_mut().zip(Area::ALL) {
            *extent = disk.partition(area.label())?;
        }
        let base = File::open(base)?;
        let size = base.metadata()?.len();
        for request in log.requests() {
            if let Request::Write(write) = request {
                let end = (write.sector + write.sectors) * SECTOR as u64;
                ensure!(end <= size, "a write beyond the end of the disk");
            }
        }
        Ok(Recorded {
            notes,
            base,
            size,
            log,
            partitions,
        })
    }

    /// The same terminal with other requests, as a broken program would have made them.
    pub fn changed(&self, change: impl FnOnce(&[Request]) -> Vec<Request>) -> Result<Self> {
        Ok(Recorded {
            notes: self.notes.clone(),
            base: self.base.try_clone()?,
            size: self.size,
            log: self.log.changed(change),
            partitions: self.partitions,
        })
    }

    /// Where a partition lies.
    pub fn extent(&self, area: Area) -> Extent {
        self.partitions[area as usize]
    }

    /// The partition that a write goes to; `None`: to the partition table, or between partitions.
    pub fn area(&self, write: &Write) -> Option<Area> {
        let byte = write.sector * SECTOR as u64;
        Area::ALL.into_iter().find(|area| {
            let extent = self.extent(*area);
            (extent.start..extent.start + extent.size).contains(&byte)
        })
    }

    /// The write at an index of the requests.
    pub fn write(&self, index: usize) -> Option<&Write> {
        match self.log.requests().get(index)? {
            Request::Write(write) => Some(write),
            Request::Flush => None,
        }
    }

    /// Indices of all writes.
    pub fn writes(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        (0..self.log.requests().len()).filter(|index| self.write(*index).is_some())
    }

    /// The index behind the last flush before `index`: what is before it is on the medium for good.
    pub fn settled(&self, index: usize) -> usize {
        let before = &self.log.requests()[..index];
        before
            .iter()
            .rposition(|request| *request == Request::Flush)
            .map_or(0, |flush| flush + 1)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;
    use std::process::Stdio;

    use dau_e2e::process::tool;

    use super::*;
    use crate::record::{Scenario, Versions};
    use crate::write_log::tests::log;

    /// What a terminal does: write so many sectors from one on, filled with the number of the request; or flush.
    pub(crate) enum Act {
        Write(u64, u64),
        Flush,
    }

    /// A recording on a disk of 4 MiB with small partitions, empty before.
    pub(crate) fn recorded(acts: &[Act]) -> Recorded {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base.img");
        File::create(&base).unwrap().set_len(4 << 20).unwrap();
        let mut sfdisk = tool("sfdisk")
            .arg("-q")
            .arg(&base)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let table = "label: gpt\nstart=40, size=1000, name=boot\nstart=2048, size=2000, name=rootfs\nstart=4096, size=2000, name=mnt\n";
        sfdisk
            .stdin
            .take()
            .unwrap()
            .write_all(table.as_bytes())
            .unwrap();
        assert!(sfdisk.wait().unwrap().success());
        let contents: Vec<Vec<u8>> = acts
            .iter()
            .enumerate()
            .map(|(index, act)| match act {
                Act::Write(_, sectors) => vec![index as u8 + 1; *sectors as usize],
                Act::Flush => Vec::new(),
            })
            .collect();
        let entries: Vec<(u64, u64, &[u8])> = acts
            .iter()
            .zip(&contents)
            .map(|(act, content)| match act {
                Act::Write(sector, _) => (*sector, 0, content.as_slice()),
                Act::Flush => (0, 1, [].as_slice()),
            })
            .collect();
        let versions = Versions {
            images: String::new(),
            commit: String::new(),
            qemu: String::new(),
            checkers: String::new(),
        };
        let notes = Notes {
            name: "test".into(),
            scenario: Scenario::Full,
            job: 1,
            began: None,
            versions,
        };
        Recorded::new(notes, &base, WriteLog::parse(log(&entries)).unwrap()).unwrap()
    }

    #[test]
    fn a_write_belongs_to_the_partition_it_lands_in() {
        let recorded = recorded(&[
            Act::Write(40, 1),
            Act::Write(1040, 1),
            Act::Flush,
            Act::Write(4100, 8),
        ]);
        let area = |index| recorded.area(recorded.write(index).unwrap());
        assert_eq!(
            (area(0), area(1), area(3)),
            (Some(Area::Boot), None, Some(Area::Mnt))
        );
        assert_eq!((recorded.settled(1), recorded.settled(3)), (0, 3));
    }
}
