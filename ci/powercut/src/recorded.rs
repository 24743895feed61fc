//! An opened recording.

use std::fs::File;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use dau_rig::disk::{Disk, Extent};

use crate::notes::{Folder, Notes};
use crate::partition::Partition;
use crate::write_log::{Request, Write, WriteLog, SECTOR};

/// A recording: the disk before the first write, and the writes.
#[derive(Debug)]
pub struct Recorded {
    /// Its notes.
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
    pub fn open(folder: &Folder) -> Result<Self> {
        let notes = folder
            .notes()?
            .with_context(|| format!("{} holds no recording", folder.0.display()))?;
        Self::new(notes, &folder.base(), WriteLog::load(&folder.log())?)
    }

    fn new(notes: Notes, base: &Path, log: WriteLog) -> Result<Self> {
        let disk = Disk::new(base.to_owned());
        let mut partitions = [Extent { start: 0, size: 0 }; 3];
        for (extent, partition) in partitions.iter_mut().zip(Partition::ALL) {
            *extent = disk.partition(partition.label())?;
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

    /// Returns the recording with other requests, as a broken program would have made them.
    pub fn changed(&self, change: impl FnOnce(&[Request]) -> Vec<Request>) -> Result<Self> {
        Ok(Recorded {
            notes: self.notes.clone(),
            base: self.base.try_clone()?,
            size: self.size,
            log: self.log.changed(change),
            partitions: self.partitions,
        })
    }

    /// Returns the place of a partition on the disk.
    pub fn extent(&self, partition: Partition) -> Extent {
        self.partitions[partition as usize]
    }

    /// Returns the partition of a write; `None`: the partition table, or between partitions.
    pub fn partition(&self, write: &Write) -> Option<Partition> {
        let byte = write.sector * SECTOR as u64;
        Partition::ALL.into_iter().find(|partition| {
            let extent = self.extent(*partition);
            (extent.start..extent.start + extent.size).contains(&byte)
        })
    }

    /// Returns the write at this index; `None` if the request is not a write.
    pub fn write(&self, index: usize) -> Option<&Write> {
        match self.log.requests().get(index)? {
            Request::Write(write) => Some(write),
            Request::Flush => None,
        }
    }

    /// Returns the indices of all writes.
    pub fn writes(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        (0..self.log.requests().len()).filter(|index| self.write(*index).is_some())
    }

    /// Returns the index after the last flush before `index`; all writes before it are on the
    /// medium for good.
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

    use dau_rig::process::tool;

    use super::*;
    use crate::notes::Versions;
    use crate::scenario::Scenario;
    use crate::write_log::tests::log;

    /// A terminal's request: `Write(first sector, sectors)`, filled with the request's number; or a
    /// flush.
    pub(crate) enum Act {
        Write(u64, u64),
        Flush,
    }

    /// Returns a recording on an empty disk of 4 MiB with small partitions.
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
        let table = "label: gpt\n\
                     start=40, size=1000, name=boot\n\
                     start=2048, size=2000, name=rootfs\n\
                     start=4096, size=2000, name=mnt\n";
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
        let partition = |index| recorded.partition(recorded.write(index).unwrap());
        assert_eq!(
            (partition(0), partition(1), partition(3)),
            (Some(Partition::Boot), None, Some(Partition::Mnt))
        );
        assert_eq!((recorded.settled(1), recorded.settled(3)), (0, 3));
    }
}
