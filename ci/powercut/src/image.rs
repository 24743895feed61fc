//! A disk after a power cut. It knows for every sector which request wrote it last, so nothing is
//! copied.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use dau_rig::disk::Disk;

use crate::partition::Partition;
use crate::recorded::Recorded;
use crate::write_log::SECTOR;

/// The part of one request that reached the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Index of the request, a write.
    pub request: usize,
    /// The sectors that reached it; `None`: all.
    pub sectors: Option<Vec<bool>>,
    /// Its sectors hold neither the old content nor the new.
    pub spoiled: bool,
}

/// The byte that fills a spoiled sector.
const SPOILT: u8 = 0xA5;
/// Bit of an origin: the sector is spoiled.
const SPOILED: u32 = 1 << 31;

impl Reached {
    /// The whole of a request.
    pub fn whole(request: usize) -> Self {
        Reached {
            request,
            sectors: None,
            spoiled: false,
        }
    }
}

/// A disk in a crash state.
#[derive(Debug)]
pub struct Image {
    pub recorded: Arc<Recorded>,
    /// For every sector: 0 if unchanged since before the recording, else one plus the index of the
    /// request that wrote it, perhaps with [`SPOILED`].
    pub(crate) origin: Vec<u32>,
    /// Number of requests that are in `origin` for good.
    settled: usize,
    undo: Vec<(usize, u32)>,
}

impl Image {
    /// Starts with the disk before the first write.
    pub fn new(recorded: Arc<Recorded>) -> Self {
        let sectors = recorded.size / SECTOR as u64;
        Image {
            origin: vec![0; usize::try_from(sectors).unwrap_or(usize::MAX)],
            recorded,
            settled: 0,
            undo: Vec::new(),
        }
    }

    /// Sets the disk to all requests before `settled` and, of the later ones, `reached`.
    pub fn show(&mut self, settled: usize, reached: &[Reached]) {
        for (sector, origin) in self.undo.drain(..).rev() {
            self.origin[sector] = origin;
        }
        if settled < self.settled {
            self.origin.fill(0);
            self.settled = 0;
        }
        for request in self.settled..settled {
            self.apply(&Reached::whole(request), false);
        }
        self.settled = settled;
        for reached in reached {
            self.apply(reached, true);
        }
    }

    fn apply(&mut self, reached: &Reached, undo: bool) {
        let Some(write) = self.recorded.write(reached.request) else {
            return;
        };
        let mut origin = u32::try_from(reached.request + 1).unwrap_or(u32::MAX);
        if reached.spoiled {
            origin |= SPOILED;
        }
        let first = write.sector as usize;
        for index in 0..write.sectors as usize {
            let here = reached
                .sectors
                .as_ref()
                .is_none_or(|sectors| sectors.get(index) == Some(&true));
            if here {
                let sector = first + index;
                if undo {
                    self.undo.push((sector, self.origin[sector]));
                }
                self.origin[sector] = origin;
            }
        }
    }

    /// Returns the sectors of a partition.
    pub(crate) fn sectors(&self, partition: Partition) -> Range<usize> {
        let extent = self.recorded.extent(partition);
        let start = (extent.start / SECTOR as u64) as usize;
        start..start + (extent.size / SECTOR as u64) as usize
    }

    /// Returns a number that is equal for partitions whose sectors were written by the same
    /// requests.
    pub fn key(&self, partition: Partition) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(self.sectors(partition), &mut hasher);
        hasher.finish()
    }

    /// Hashes the origins of some sectors.
    pub(crate) fn hash(&self, sectors: Range<usize>, hasher: &mut DefaultHasher) {
        let mut last = u32::MAX;
        for sector in sectors {
            let origin = self.origin[sector];
            if origin != last {
                hasher.write_u32(origin);
                hasher.write_usize(sector);
                last = origin;
            }
        }
    }

    /// Reads at a byte offset of the disk.
    pub fn read_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let sector = (offset / SECTOR as u64) as usize;
            let within = (offset % SECTOR as u64) as usize;
            let origin = self.origin[sector];
            let wanted = (within + buffer.len()).div_ceil(SECTOR);
            let same = self.origin[sector..sector + wanted]
                .iter()
                .take_while(|found| **found == origin)
                .count();
            let length = (same * SECTOR - within).min(buffer.len());
            let (now, rest) = buffer.split_at_mut(length);
            self.read_run(origin, sector, within, now)?;
            offset += length as u64;
            buffer = rest;
        }
        Ok(())
    }

    /// Reads consecutive sectors of one origin.
    fn read_run(
        &self,
        origin: u32,
        sector: usize,
        within: usize,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        match origin.checked_sub(1) {
            None => {
                let at = (sector * SECTOR + within) as u64;
                self.recorded.base.read_exact_at(buffer, at)
            }
            Some(_) if origin & SPOILED != 0 => {
                buffer.fill(SPOILT);
                Ok(())
            }
            Some(request) => {
                let write = self.recorded.write(request as usize);
                let write = write.ok_or_else(|| io::Error::other("no write there"))?;
                let data = self.recorded.log.data(write);
                let at = (sector - write.sector as usize) * SECTOR + within;
                buffer.copy_from_slice(&data[at..at + buffer.len()]);
                Ok(())
            }
        }
    }

    /// Writes the whole disk to a file, starting from a copy of `base`.
    pub fn save(&self, path: &Path, base: &Path) -> Result<Disk> {
        let disk = Disk::new(base.to_owned()).copy_to(path)?;
        let file = std::fs::OpenOptions::new().write(true).open(path)?;
        let sectors = 0..self.origin.len();
        self.write_changed(sectors, &vec![0; self.origin.len()], &file)?;
        Ok(disk)
    }

    /// Writes the sectors whose origin differs from `old` to a file that begins with the first of
    /// `sectors`.
    pub(crate) fn write_changed(
        &self,
        sectors: Range<usize>,
        old: &[u32],
        file: &std::fs::File,
    ) -> Result<()> {
        const MOST: usize = 2048;
        let mut buffer = vec![0; MOST * SECTOR];
        let mut at = 0;
        while at < old.len() {
            let new = &self.origin[sectors.clone()];
            if new[at] == old[at] {
                at += 1;
                continue;
            }
            let count = (at..old.len().min(at + MOST))
                .take_while(|sector| new[*sector] != old[*sector])
                .count();
            let piece = &mut buffer[..count * SECTOR];
            self.read_at(((sectors.start + at) * SECTOR) as u64, piece)?;
            file.write_all_at(piece, (at * SECTOR) as u64)?;
            at += count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::tests::{recorded, Act};

    fn sectors(image: &Image, first: u64, count: usize) -> Vec<u8> {
        let mut bytes = vec![0xEE; count * SECTOR];
        image.read_at(first * SECTOR as u64, &mut bytes).unwrap();
        bytes.chunks(SECTOR).map(|sector| sector[0]).collect()
    }

    #[test]
    fn a_disk_shows_what_reached_it_and_forgets_it_for_the_next_state() {
        let acts = [
            Act::Write(3000, 4),
            Act::Flush,
            Act::Write(3001, 2),
            Act::Write(3002, 2),
        ];
        let mut image = Image::new(Arc::new(recorded(&acts)));
        image.show(2, &[Reached::whole(2), Reached::whole(3)]);
        assert_eq!(sectors(&image, 2999, 6), [0, 1, 3, 4, 4, 0]);
        let whole = image.key(Partition::Rootfs);
        let torn = Reached {
            request: 3,
            sectors: Some(vec![false, true]),
            spoiled: false,
        };
        image.show(2, &[Reached::whole(2), torn]);
        assert_eq!(sectors(&image, 2999, 6), [0, 1, 3, 3, 4, 0]);
        assert_ne!(image.key(Partition::Rootfs), whole);
        let spoiled = Reached {
            spoiled: true,
            ..Reached::whole(3)
        };
        image.show(2, &[Reached::whole(2), spoiled]);
        assert_eq!(sectors(&image, 2999, 6), [0, 1, 3, SPOILT, SPOILT, 0]);
        image.show(2, &[]);
        assert_eq!(sectors(&image, 2999, 6), [0, 1, 1, 1, 1, 0]);
        image.show(0, &[Reached::whole(3)]);
        assert_eq!(sectors(&image, 2999, 6), [0, 0, 0, 4, 4, 0]);
        image.show(2, &[Reached::whole(2), Reached::whole(3)]);
        assert_eq!(image.key(Partition::Rootfs), whole);
    }
}
