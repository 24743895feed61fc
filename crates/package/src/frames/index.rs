//! Frames found by the seek table.

use std::io::{Read, Seek, SeekFrom};

use super::seek_table::{parse, table_size};
use super::{content_at, malformed, Frame, FrameError, FRAME_CONTENT, MAX_FRAME_STORED};
use crate::MAX_IMAGE;

/// Where every frame of a payload stands, from its seek table, so that several threads can each take one.
///
/// The table is held to the rules of [`super`], but it is only as good as the payload's digest: read it from a package
/// that [`crate::verify()`] has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameIndex {
    frames: Vec<Frame>,
}

impl FrameIndex {
    /// Reads the seek table of the payload that stands at `offset` of `file` and has `len` bytes, of an image of
    /// `image_size` bytes. Offsets of the frames found count from the payload's first byte.
    pub fn read<F: Read + Seek>(
        file: &mut F,
        offset: u64,
        len: u64,
        image_size: u64,
    ) -> Result<Self, FrameError> {
        if image_size > MAX_IMAGE {
            return malformed(0, "the image is larger than any can be");
        }
        let count = image_size.div_ceil(FRAME_CONTENT as u64) as usize;
        let Some(table_offset) = len.checked_sub(table_size(count) as u64) else {
            return malformed(0, "it is too short for its seek table");
        };
        let mut table = vec![0; table_size(count)];
        file.seek(SeekFrom::Start(offset + table_offset))?;
        file.read_exact(&mut table)?;
        let frames = parse(&table, count, table_offset)?;
        for frame in &frames {
            if frame.content != content_at(frame.image_offset, image_size) {
                return malformed(
                    table_offset,
                    "a frame in the seek table does not hold 4 MiB of image, or what is left of it",
                );
            }
            if frame.stored == 0 || frame.stored > MAX_FRAME_STORED {
                return malformed(
                    table_offset,
                    "a frame in the seek table has no possible size",
                );
            }
        }
        let end = frames
            .last()
            .map_or(0, |last| last.stored_offset + last.stored as u64);
        if end != table_offset {
            return malformed(
                table_offset,
                "the frames in the seek table do not fill the payload",
            );
        }
        Ok(Self { frames })
    }

    /// The frames, in the image's order.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The frame that holds the byte of the image at `image_offset`.
    pub fn find(&self, image_offset: u64) -> Option<&Frame> {
        let index = usize::try_from(image_offset / FRAME_CONTENT as u64).ok()?;
        let frame = self.frames.get(index)?;
        (image_offset < frame.image_offset + frame.content as u64).then_some(frame)
    }
}
