//! The log of a disk's writes and flushes, kept by QEMU's driver blklogwrites.
//!
//! Format: that of Linux's dm-log-writes (drivers/md/dm-log-writes.c;
//! Documentation/admin-guide/device-mapper/log-writes.rst), as QEMU's block/blklogwrites.c writes
//! it: a super block in the first sector, then for every request a sector with its entry, followed
//! by its data. All numbers are little endian, addresses and lengths are in sectors.

use std::path::Path;

use anyhow::{bail, ensure, Context, Result};

/// Size of a sector, bytes; a torn write is torn between two sectors.
pub const SECTOR: usize = 512;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// A request of the terminal to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Sectors were written.
    Write(Write),
    /// All writes before it are on the medium.
    Flush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// First sector on the disk.
    pub sector: u64,
    /// Number of sectors.
    pub sectors: u64,
    /// Offset of its data in the log, bytes.
    pub data: usize,
    /// Force unit access: it is on the medium once it is done, whatever becomes of earlier writes.
    pub fua: bool,
}

/// A log of requests and their data.
pub struct WriteLog {
    bytes: Vec<u8>,
    requests: Vec<Request>,
}

impl std::fmt::Debug for WriteLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("WriteLog")
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}

impl WriteLog {
    /// Reads a whole log into memory.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(bytes).with_context(|| format!("{} is no log of writes", path.display()))
    }

    /// Parses the bytes of a log.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        ensure!(number(&bytes, 0)? == MAGIC, "it does not begin as one");
        ensure!(number(&bytes, 8)? == VERSION, "its version is not known");
        let count = number(&bytes, 16)?;
        let sector_size = number(&bytes, 24)? & u64::from(u32::MAX);
        ensure!(
            sector_size == SECTOR as u64,
            "its sectors have {sector_size} bytes, not {SECTOR}"
        );
        let mut requests = Vec::new();
        let mut at = SECTOR;
        for index in 0..count {
            let (sector, sectors, flags) = (
                number(&bytes, at)?,
                number(&bytes, at + 8)?,
                number(&bytes, at + 16)?,
            );
            at += SECTOR;
            if flags & FLUSH != 0 {
                requests.push(Request::Flush);
            }
            ensure!(
                sectors > 0 || flags != 0,
                "entry {index} is empty: not all of the log was written"
            );
            if flags & (DISCARD | MARK) != 0 {
                bail!("entry {index} is a discard or a mark, which nobody was to write");
            }
            if sectors > 0 {
                requests.push(Request::Write(Write {
                    sector,
                    sectors,
                    data: at,
                    fua: flags & FUA != 0,
                }));
                at += usize::try_from(sectors)? * SECTOR;
                ensure!(at <= bytes.len(), "entry {index} is cut short");
            }
        }
        Ok(WriteLog { bytes, requests })
    }

    /// Returns the requests in order of completion.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Returns the bytes of the log.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the data of a write.
    pub fn data(&self, write: &Write) -> &[u8] {
        let length = usize::try_from(write.sectors).unwrap_or(0) * SECTOR;
        &self.bytes[write.data..][..length]
    }

    /// Returns the same writes with other requests in between, as a broken program would have made
    /// them.
    pub fn changed(&self, change: impl FnOnce(&[Request]) -> Vec<Request>) -> Self {
        WriteLog {
            bytes: self.bytes.clone(),
            requests: change(&self.requests),
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u64> {
    let word = bytes.get(at..at + 8).context("it is cut short")?;
    Ok(u64::from_le_bytes(word.try_into()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a log of these entries: sector, flags, content of each sector.
    pub(crate) fn log(entries: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; SECTOR];
        for (at, value) in [(0, MAGIC), (8, 1), (16, entries.len() as u64), (24, 512)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        for (sector, flags, contents) in entries {
            let mut entry = vec![0; SECTOR];
            let numbers = [*sector, contents.len() as u64, *flags];
            for (index, value) in numbers.into_iter().enumerate() {
                entry[index * 8..index * 8 + 8].copy_from_slice(&value.to_le_bytes());
            }
            bytes.extend(entry);
            for content in *contents {
                bytes.extend([*content; SECTOR]);
            }
        }
        bytes
    }

    #[test]
    fn writes_and_flushes_are_read_in_order() {
        let log =
            WriteLog::parse(log(&[(8, 0, &[1, 2]), (0, FLUSH, &[]), (3, FUA, &[7])])).unwrap();
        let [Request::Write(first), Request::Flush, Request::Write(last)] = log.requests() else {
            panic!("{:?}", log.requests());
        };
        assert_eq!((first.sector, first.sectors, first.fua), (8, 2, false));
        assert_eq!(log.data(first)[SECTOR - 1..SECTOR + 1], [1, 2]);
        assert_eq!((log.data(last), last.fua), (&[7; SECTOR][..], true));
    }

    #[test]
    fn a_log_that_is_none_or_cut_short_is_refused() {
        let whole = log(&[(8, 0, &[1, 2])]);
        for (name, bytes) in [
            ("empty", Vec::new()),
            ("no magic", vec![0; 4096]),
            ("cut", whole[..whole.len() - 1].to_vec()),
            ("a discard", log(&[(8, DISCARD, &[])])),
            (
                "an entry that was lost",
                log(&[(0, 0, &[]), (8, 0, &[1, 2])]),
            ),
        ] {
            assert!(WriteLog::parse(bytes).is_err(), "{name}");
        }
    }
}
