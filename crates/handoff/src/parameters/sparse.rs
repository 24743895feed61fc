//! Files with holes: the places of their data, and their hashes.
//!
//! Holes are neither read nor stored, so a file costs its space on the medium, not its size.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use nix::errno::Errno;
use nix::unistd::{lseek64, Whence};

use super::digest::{ContentHash, ContentHasher};

/// Largest file among the parameters, holes included, in bytes: less than ext4's limit with blocks
/// of 1 KiB.
pub(super) const MAX_FILE_SIZE: u64 = 2 << 40;

/// Most segments in one file.
pub(super) const MAX_SEGMENTS: usize = 32_768;

/// A segment of data in a file, in bytes; between two of them is a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub offset: u64,
    pub length: u64,
}

impl Segment {
    /// Returns the offset after its last byte.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Returns the segments of a file without holes.
pub(super) fn dense(size: u64) -> Vec<Segment> {
    let whole = Segment {
        offset: 0,
        length: size,
    };
    Some(whole).filter(|_| size > 0).into_iter().collect()
}

/// Returns the number of bytes of data.
pub(super) fn stored(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.length).sum()
}

/// Returns the segments of `file` up to `size`; a single one if the file system does not support
/// holes.
pub(super) fn segments(file: &File, size: u64) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    let mut position = 0;
    while position < size {
        let data = match seek(file, position, Whence::SeekData) {
            Ok(data) => data.min(size),
            // Only a hole up to the end.
            Err(Errno::ENXIO) => break,
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(dense(size)),
            Err(errno) => return Err(errno.into()),
        };
        if data == size {
            break;
        }
        if found.len() >= MAX_SEGMENTS {
            let reason = format!("it has more than {MAX_SEGMENTS} holes: keep a copy without them");
            return Err(io::Error::other(reason));
        }
        let end = match seek(file, data, Whence::SeekHole) {
            Ok(hole) => hole.min(size),
            // The file became shorter meanwhile.
            Err(Errno::ENXIO) => size,
            Err(errno) => return Err(errno.into()),
        };
        found.push(Segment {
            offset: data,
            length: end.saturating_sub(data),
        });
        position = end.max(data.saturating_add(1));
    }
    Ok(found)
}

fn seek(file: &File, position: u64, whence: Whence) -> nix::Result<u64> {
    let position = i64::try_from(position).map_err(|_| Errno::EOVERFLOW)?;
    lseek64(file, position, whence).map(|found| u64::try_from(found).unwrap_or(0))
}

/// A reader of an open file's data, segment after segment.
#[derive(Debug)]
pub(super) struct Data {
    file: File,
    /// The remaining segments, the next one last.
    segments: Vec<Segment>,
    /// Bytes left in the current segment.
    left: u64,
}

impl Data {
    pub(super) fn new(file: File, segments: &[Segment]) -> Self {
        let segments = segments.iter().rev().copied().collect();
        Data {
            file,
            segments,
            left: 0,
        }
    }
}

impl Read for Data {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let Some(next) = self.segments.pop() else {
                return Ok(0);
            };
            self.file.seek(SeekFrom::Start(next.offset))?;
            self.left = next.length;
        }
        let count = (&self.file).take(self.left).read(buffer)?;
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

/// Hashes the content of a file while its data is read through it.
pub(super) struct Hashing<'a, R> {
    data: R,
    segments: &'a [Segment],
    size: u64,
    /// Index of the current segment, and the position in it.
    number: usize,
    within: u64,
    hasher: ContentHasher,
    /// Bytes of data read so far.
    pub count: u64,
}

impl<'a, R: Read> Hashing<'a, R> {
    /// `data` must hold as many bytes as the segments.
    pub(super) fn new(data: R, segments: &'a [Segment], size: u64) -> Self {
        Hashing {
            data,
            segments,
            size,
            number: 0,
            within: 0,
            hasher: ContentHasher::default(),
            count: 0,
        }
    }

    /// Returns the source of the data.
    pub(super) fn data_mut(&mut self) -> &mut R {
        &mut self.data
    }

    /// Returns the hash of the content, holes included.
    pub(super) fn finish(mut self) -> ContentHash {
        self.hasher.hole_up_to(self.size);
        self.hasher.finish()
    }
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(segment) = self.segments.get(self.number) else {
            return Ok(0);
        };
        let left = segment.length.saturating_sub(self.within);
        let count = (&mut self.data).take(left).read(buffer)?;
        self.hasher
            .hole_up_to(segment.offset.saturating_add(self.within));
        self.hasher.data(buffer.get(..count).unwrap_or_default());
        self.count = self.count.saturating_add(count as u64);
        self.within = self.within.saturating_add(count as u64);
        if self.within >= segment.length {
            (self.number, self.within) = (self.number.saturating_add(1), 0);
        }
        Ok(count)
    }
}

/// Returns the hash of an open file's content up to `size`.
pub(super) fn hash_of(file: File, size: u64) -> io::Result<ContentHash> {
    let segments = segments(&file, size)?;
    let mut content = Hashing::new(Data::new(file, &segments), &segments, size);
    io::copy(&mut content, &mut io::sink())?;
    Ok(content.finish())
}
