//! Parts of a file, read without its position.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// The next bytes of a file.
#[derive(Debug)]
pub(super) struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl<'a> Section<'a> {
    /// Returns a reader of `len` bytes at `offset`.
    pub(super) fn new(file: &'a File, offset: u64, len: u64) -> Self {
        Self {
            file,
            offset,
            left: len,
        }
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let part = buffer.get_mut(..most).unwrap_or_default();
        let count = self.file.read_at(part, self.offset)?;
        self.offset = self.offset.saturating_add(count as u64);
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}
