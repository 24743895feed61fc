//! A disk as the power cut left it. For every sector it is known which request wrote it last: nothing is copied.

use std::cell::RefCell;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::io::{self, Read, Seek, SeekFrom, Write as IoWrite};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Result;
use dau_e2e::disk::Disk;

use crate::recorded::{Area, Recorded};
use crate::write_log::SECTOR;

/// What reached the medium of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The request, a write.
    pub request: usize,
    /// Which of its sectors; `None`: all.
    pub sectors: Option<Vec<bool>>,
    /// Its sectors hold neither what was there nor what was written.
    pub spoiled: bool,
}

/// What a spoiled sector holds.
const SPOILT: u8 = 0xA5;
/// In an origin: the sectors of the request are spoiled.
const SPOILED: u32 = 1 << 31;

impl Reached {
    /// All of a request.
    pub fn whole(request: usize) -> Self {
        Reached {
            request,
            sectors: None,
            spoiled: false,
        }
    }
}

/// A disk.
#[derive(Debug)]
pub struct Image {
    /// What was recorded.
    pub recorded: Arc<Recorded>,
    /// For every sector: 0 where it is as before the recording, else the request that wrote it, counted from 1, perhaps with
    /// [`SPOILED`].
    origin: Vec<u32>,
    /// Requests that are in `origin` for good.
    settled: usize,
    undo: Vec<(usize, u32)>,
}

impl Image {
    /// The disk before the first write.
    pub fn new(recorded: Arc<Recorded>) -> Self {
        let sectors = recorded.size / SECTOR as u64;
        Image {
            origin: vec![0; usize::try_from(sectors).unwrap_or(usize::MAX)],
            recorded,
            settled: 0,
            undo: Vec::new(),
        }
    }

    /// The disk on which all requests before `settled` are, and of later ones what `reached` says.
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

    fn sectors(&self, area: Area) -> Range<usize> {
        let extent = self.recorded.extent(area);
        let start = (extent.start / SECTOR as u64) as usize;
        start..start + (extent.size / SECTOR as u64) as usize
    }

    /// A number that is the same for partitions with the same content, as far as it was written by the same requests.
    pub fn key(&self, area: Area) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(self.sectors(area), &mut hasher);
        hasher.finish()
    }

    fn hash(&self, sectors: Range<usize>, hasher: &mut DefaultHasher) {
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

    /// Reads from any place of the disk.
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

    /// Reads what one origin left behind each other.
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

    /// Writes the whole disk to a file.
    pub fn save(&self, path: &Path, base: &Path) -> Result<Disk> {
        let disk = Disk::new(base.to_owned()).copy_to(path)?;
        let file = std::fs::OpenOptions::new().write(true).open(path)?;
        let sectors = 0..self.origin.len();
        self.write_changed(sectors, &vec![0; self.origin.len()], &file)?;
        Ok(disk)
    }

    /// Writes those sectors to a file that have another origin than in `old`; the first of them stands at its beginning.
    fn write_changed(
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

/// A partition's content in a file, for programs that want one; only what changed is written anew.
#[derive(Debug)]
pub struct Scratch {
    file: std::fs::File,
    path: std::path::PathBuf,
    origin: Vec<u32>,
    area: Area,
}

impl Scratch {
    /// A file in `folder` with a partition of the disk as it was before the first write.
    pub fn new(recorded: &Recorded, area: Area, folder: &Path) -> Result<Self> {
        const PIECE: usize = 1 << 16;
        let path = folder.join(area.label());
        let file = std::fs::File::create(&path)?;
        let extent = recorded.extent(area);
        file.set_len(extent.size)?;
        let mut piece = vec![0; PIECE];
        for start in (0..extent.size).step_by(PIECE) {
            let length = PIECE.min((extent.size - start) as usize);
            recorded
                .base
                .read_exact_at(&mut piece[..length], extent.start + start)?;
            if piece[..length].iter().any(|byte| *byte != 0) {
                file.write_all_at(&piece[..length], start)?;
            }
        }
        Ok(Scratch {
            file,
            path,
            origin: vec![0; (extent.size / SECTOR as u64) as usize],
            area,
        })
    }

    /// The file, with what the partition holds on this disk.
    pub fn of(&mut self, image: &Image) -> Result<&Path> {
        let sectors = image.sectors(self.area);
        image.write_changed(sectors.clone(), &self.origin, &self.file)?;
        self.origin.copy_from_slice(&image.origin[sectors]);
        Ok(&self.path)
    }
}

/// A partition to read from. What was read since [`Reader::forget`] has a key.
#[derive(Debug, Clone)]
pub struct Reader {
    image: Rc<RefCell<Image>>,
    start: u64,
    size: u64,
    position: u64,
    trace: Rc<RefCell<DefaultHasher>>,
}

impl Reader {
    /// Reads a partition of a disk.
    pub fn new(image: &Rc<RefCell<Image>>, area: Area) -> Self {
        let extent = image.borrow().recorded.extent(area);
        Reader {
            image: image.clone(),
            start: extent.start,
            size: extent.size,
            position: 0,
            trace: Rc::default(),
        }
    }

    /// Begins a new key.
    pub fn forget(&self) {
        *self.trace.borrow_mut() = DefaultHasher::new();
    }

    /// A number that is the same for reads of the same content, as far as it was written by the same requests.
    pub fn key(&self) -> u64 {
        self.trace.borrow().finish()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let image = self.image.borrow();
        let first = ((self.start + offset) / SECTOR as u64) as usize;
        let last = (self.start + offset + buffer.len() as u64).div_ceil(SECTOR as u64) as usize;
        image.hash(first..last, &mut self.trace.borrow_mut());
        image.read_at(self.start + offset, buffer)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.position);
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.read_at(self.position, &mut buffer[..length])?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// fatfs asks for it; nothing is ever written to a crash state.
impl IoWrite for Reader {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn flush(&mut self) -> io::Result<()> {
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
        let whole = image.key(Area::Rootfs);
        let torn = Reached {
            request: 3,
            sectors: Some(vec![false, true]),
            spoiled: false,
        };
        image.show(2, &[Reached::whole(2), torn]);
        assert_eq!(sectors(&image, 2999, 6), [0, 1, 3, 3, 4, 0]);
        assert_ne!(image.key(Area::Rootfs), whole);
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
        assert_eq!(image.key(Area::Rootfs), whole);
    }

    #[test]
    fn a_file_follows_from_state_to_state() {
        let acts = [Act::Write(3000, 4), Act::Flush, Act::Write(3001, 2)];
        let recorded = Arc::new(recorded(&acts));
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new(&recorded, Area::Rootfs, dir.path()).unwrap();
        let mut image = Image::new(recorded);
        for (settled, reached, expected) in [
            (2, vec![Reached::whole(2)], [1, 3, 3, 1]),
            (0, vec![Reached::whole(2)], [0, 3, 3, 0]),
            (2, vec![], [1, 1, 1, 1]),
        ] {
            image.show(settled, &reached);
            let bytes = std::fs::read(scratch.of(&image).unwrap()).unwrap();
            let found: Vec<u8> = (0..4)
                .map(|sector| bytes[(3000 - 2048 + sector) * SECTOR])
                .collect();
            assert_eq!(found, expected);
        }
    }
}
