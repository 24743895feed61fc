//! Compressed images: independent zstd frames of 4 MiB of image each (1 MiB in packages that a
//! terminal rebuilt), so that parts can be read
//! alone and in parallel with little memory, and a seek table at the end that lists the frames.
//!
//! The bytes are plain zstd (RFC 8878): `zstd -dc` restores the image. These additional rules are
//! enforced by readers:
//!
//! - every frame declares its content size: 4 MiB ([`FRAME_CONTENT`]) or, in all frames of an image,
//!   1 MiB ([`SMALL_FRAME_CONTENT`]), the last one the rest;
//! - a frame's window is at most 4 MiB, it needs no dictionary, and it has at most
//!   [`MAX_FRAME_STORED`] bytes;
//! - after the last frame comes one skippable frame, the seek table of the zstd seekable format
//!   0.1.0 (`contrib/seekable_format/zstd_seekable_compression_format.md` in zstd's sources),
//!   without checksums.
//!
//! [`FrameIndex`] finds the frames by the seek table, [`Decoder`] decompresses them.

use std::io;

use thiserror::Error;

mod decoder;
mod header;
mod index;
mod seek_table;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use index::FrameIndex;
pub use seek_table::SeekTable;

/// Bytes of image in every frame but the last.
pub const FRAME_CONTENT: usize = 4 << 20;
/// Bytes of image in every frame but the last of a rebuilt package: the next delta reads parts of
/// it, with less memory and time than frames of 4 MiB would take.
pub const SMALL_FRAME_CONTENT: usize = 1 << 20;
/// Largest frame as stored: zstd's own bound for 4 MiB of incompressible data, and some more.
pub const MAX_FRAME_STORED: usize = FRAME_CONTENT + (FRAME_CONTENT >> 8) + 1024;

/// A frame and its part of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Offset of its first byte in the image.
    pub image_offset: u64,
    /// Bytes of image.
    pub content: usize,
    /// Offset of its first stored byte in the payload.
    pub stored_offset: u64,
    /// Stored bytes.
    pub stored: usize,
}

impl Frame {
    /// Returns the offset in the image after its last byte.
    fn image_end(&self) -> u64 {
        self.image_offset.saturating_add(self.content as u64)
    }

    /// Returns the offset in the payload after its last stored byte.
    fn stored_end(&self) -> u64 {
        self.stored_offset.saturating_add(self.stored as u64)
    }
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
        /// The violated rule.
        reason: &'static str,
    },
}

/// Returns the bytes of image in the frame at `image_offset`, where others have `content`.
fn content_at(image_offset: u64, image_size: u64, content: usize) -> usize {
    let left = image_size.saturating_sub(image_offset);
    usize::try_from(left).map_or(content, |left| left.min(content))
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
