//! Reads a partition of a crash state.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use crate::image::Image;
use crate::partition::Partition;
use crate::write_log::SECTOR;

/// A reader of a partition, with a key of all that was read since [`Reader::forget`].
#[derive(Debug, Clone)]
pub struct Reader {
    image: Rc<RefCell<Image>>,
    start: u64,
    size: u64,
    position: u64,
    trace: Rc<RefCell<DefaultHasher>>,
}

impl Reader {
    pub fn new(image: &Rc<RefCell<Image>>, partition: Partition) -> Self {
        let extent = image.borrow().recorded.extent(partition);
        Reader {
            image: image.clone(),
            start: extent.start,
            size: extent.size,
            position: 0,
            trace: Rc::default(),
        }
    }

    /// Starts a new key.
    pub fn forget(&self) {
        *self.trace.borrow_mut() = DefaultHasher::new();
    }

    /// Returns a number that is equal for reads of sectors written by the same requests.
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

/// Demanded by fatfs; a crash state is never written to.
impl Write for Reader {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
