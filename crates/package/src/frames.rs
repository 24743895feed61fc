//! How an image is compressed: independent zstd frames of 4 MiB of image each, so that any part can be read alone and
//! several side by side with little memory, and at the end a seek table that says where each frame stands.
//!
//! The bytes are plain zstd (RFC 8878): `zstd -dc` restores the image. The rules on top of it, which
//! readers rely on and enforce:
//!
//! - every frame declares its content size: 4 MiB ([`FRAME_CONTENT`]), the last one what is left;
//! - a frame's window is at most 4 MiB, it needs no dictionary, and it is at most [`MAX_FRAME_STORED`] bytes;
//! - after the last frame stands one skippable frame, the seek table of the zstd seekable format 0.1.0
//!   (`contrib/seekable_format/zstd_seekable_compression_format.md` in zstd's sources), without checksums.
//!
//! Nothing here decompresses: frames are found by their own headers. [`FrameReader`] goes through them in order;
//! [`FrameIndex`] finds any of them by the seek table.

use std::io::{self, Read};

use thiserror::Error;

mod index;
mod seek_table;
#[cfg(test)]
mod tests;

pub use index::FrameIndex;
pub use seek_table::SeekTable;

/// Bytes of image in every frame but the last.
pub const FRAME_CONTENT: usize = 4 << 20;
/// Largest frame as stored: zstd's own bound for 4 MiB that do not compress, and then some.
pub const MAX_FRAME_STORED: usize = FRAME_CONTENT + (FRAME_CONTENT >> 8) + 1024;

/// First four bytes of a frame, little endian.
const FRAME_MAGIC: u32 = 0xFD2F_B528;
/// First four bytes of a skippable frame, but for the low four bits.
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
/// Largest skippable frame: the seek table of the largest image takes 128 KiB.
const MAX_SKIPPABLE: u32 = 1 << 20;

/// One frame: what it covers of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Offset in the image of its first byte.
    pub image_offset: u64,
    /// Bytes of image.
    pub content: usize,
    /// Offset in the payload of its first stored byte.
    pub stored_offset: u64,
    /// Stored bytes.
    pub stored: usize,
}

/// A payload that does not consist of frames as described above.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The payload cannot be read.
    #[error("cannot read the compressed image: {0}")]
    Io(#[from] io::Error),
    /// The payload breaks a rule.
    #[error("the compressed image is malformed at its byte {offset}: {reason}")]
    Malformed {
        /// Offset in the payload.
        offset: u64,
        /// Which rule.
        reason: &'static str,
    },
}

/// Goes through the frames of a payload in order.
#[derive(Debug)]
pub struct FrameReader<R> {
    payload: R,
    /// Offset in the payload of the next byte.
    offset: u64,
    /// Offset in the image of the next frame.
    image_offset: u64,
    image_size: u64,
}

impl<R: Read> FrameReader<R> {
    /// `payload` reads a payload from its first byte to its end, and `image_size` is what the manifest says.
    pub fn new(payload: R, image_size: u64) -> Self {
        Self {
            payload,
            offset: 0,
            image_offset: 0,
            image_size,
        }
    }

    /// Reads the next frame into `stored`, which is at most [`MAX_FRAME_STORED`] bytes afterwards. `None` after the
    /// last one, when the whole image has been seen and the payload is at its end.
    pub fn next_frame(&mut self, stored: &mut Vec<u8>) -> Result<Option<Frame>, FrameError> {
        loop {
            stored.clear();
            let start = self.offset;
            let Some(magic) = self.read_magic(stored)? else {
                return match self.image_offset == self.image_size {
                    true => Ok(None),
                    false => malformed(start, "it ends before the image is complete"),
                };
            };
            if magic & !0xF == SKIPPABLE_MAGIC {
                self.skip()?;
                continue;
            }
            if magic != FRAME_MAGIC {
                return malformed(start, "neither a zstd frame nor a skippable one");
            }
            let expected = self.expected_content();
            if expected == 0 {
                return malformed(start, "a frame after the end of the image");
            }
            let checksum = self.read_header(stored, expected)?;
            self.read_blocks(stored)?;
            if checksum {
                self.read(4, stored)?;
            }
            let frame = Frame {
                image_offset: self.image_offset,
                content: expected,
                stored_offset: start,
                stored: stored.len(),
            };
            self.image_offset += expected as u64;
            return Ok(Some(frame));
        }
    }

    /// Bytes of image that the next frame must cover.
    fn expected_content(&self) -> usize {
        content_at(self.image_offset, self.image_size)
    }

    fn read_magic(&mut self, stored: &mut Vec<u8>) -> Result<Option<u32>, FrameError> {
        // A payload may end here and nowhere else.
        let mut first = [0];
        loop {
            match self.payload.read(&mut first) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.offset += 1;
        stored.extend_from_slice(&first);
        self.read(3, stored)?;
        Ok(Some(little_endian(stored) as u32))
    }

    fn skip(&mut self) -> Result<(), FrameError> {
        let start = self.offset;
        let mut bytes = Vec::with_capacity(4);
        self.read(4, &mut bytes)?;
        let size = little_endian(&bytes) as u32;
        if size > MAX_SKIPPABLE {
            return malformed(start, "a skippable frame is larger than 1 MiB");
        }
        let size = u64::from(size);
        let skipped = io::copy(&mut self.payload.by_ref().take(size), &mut io::sink())?;
        if skipped != size {
            return malformed(start, "it ends inside a skippable frame");
        }
        self.offset += size;
        Ok(())
    }

    /// Reads a frame header and holds it to the rules; returns whether a checksum follows the blocks.
    fn read_header(&mut self, stored: &mut Vec<u8>, expected: usize) -> Result<bool, FrameError> {
        let start = self.offset;
        let descriptor = self.read(1, stored)?[0];
        let single_segment = descriptor & 0x20 != 0;
        if descriptor & 0x08 != 0 {
            return malformed(start, "a reserved bit of a frame header is set");
        }
        if descriptor & 0x03 != 0 {
            return malformed(start, "a frame needs a dictionary");
        }
        if !single_segment {
            let window = window_size(self.read(1, stored)?[0]);
            if window > FRAME_CONTENT as u64 {
                return malformed(start, "the window of a frame is larger than 4 MiB");
            }
        }
        // The low two bits of the size are codes for 1 (or none), 2, 4 and 8 bytes; two bytes count from 256.
        let content = match (descriptor >> 6, single_segment) {
            (0, false) => return malformed(start, "a frame does not declare its content size"),
            (0, true) => little_endian(self.read(1, stored)?),
            (1, _) => little_endian(self.read(2, stored)?) + 256,
            (2, _) => little_endian(self.read(4, stored)?),
            _ => little_endian(self.read(8, stored)?),
        };
        if content != expected as u64 {
            return malformed(
                start,
                "a frame does not hold 4 MiB of image, or what is left of it",
            );
        }
        Ok(descriptor & 0x04 != 0)
    }

    fn read_blocks(&mut self, stored: &mut Vec<u8>) -> Result<(), FrameError> {
        loop {
            let start = self.offset;
            let header = little_endian(self.read(3, stored)?) as usize;
            let size = match (header >> 1) & 0x03 {
                // One byte, to be repeated.
                1 => 1,
                3 => return malformed(start, "a block is of the reserved type"),
                _ => header >> 3,
            };
            if stored.len() + size > MAX_FRAME_STORED {
                return malformed(start, "a frame is larger than 4 MiB of image can be");
            }
            self.read(size, stored)?;
            if header & 1 == 1 {
                return Ok(());
            }
        }
    }

    /// Appends `count` bytes to `stored` and returns these.
    fn read<'a>(&mut self, count: usize, stored: &'a mut Vec<u8>) -> Result<&'a [u8], FrameError> {
        let start = stored.len();
        stored.resize(start + count, 0);
        match self.payload.read_exact(&mut stored[start..]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return malformed(self.offset, "it ends inside a frame");
            }
            Err(error) => return Err(error.into()),
        }
        self.offset += count as u64;
        Ok(&stored[start..])
    }
}

/// Bytes of image in the frame that starts at `image_offset`.
fn content_at(image_offset: u64, image_size: u64) -> usize {
    let left = image_size.saturating_sub(image_offset);
    usize::try_from(left).map_or(FRAME_CONTENT, |left| left.min(FRAME_CONTENT))
}

/// RFC 8878, 3.1.1.1.2: exponent in the high five bits, eighths in the low three.
fn window_size(descriptor: u8) -> u64 {
    let base = 1 << (10 + (descriptor >> 3));
    base + base / 8 * u64::from(descriptor & 7)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn malformed<T>(offset: u64, reason: &'static str) -> Result<T, FrameError> {
    Err(FrameError::Malformed { offset, reason })
}
