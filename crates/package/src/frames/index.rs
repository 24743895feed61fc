//! Frames found by the seek table.

use std::io::{Read, Seek, SeekFrom};

use super::seek_table::{parse, table_size};
use super::{
    content_at, malformed, Frame, FrameError, FRAME_CONTENT, MAX_FRAME_STORED, SMALL_FRAME_CONTENT,
};
use crate::MAX_IMAGE;

/// The places of all frames of a payload, from its seek table, so that several threads can work in
/// parallel.
///
/// The table must obey the rules of [`super`], but it is only as trustworthy as the payload's
/// digest: read it from a package that [`crate::verify()`] has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameIndex {
    frames: Vec<Frame>,
}

impl FrameIndex {
    /// Reads the seek table of the payload at `offset` of `file` with `len` bytes, for an image of
    /// `image_size` bytes. The frames' offsets count from the payload's first byte.
    pub fn read<F: Read + Seek>(
        file: &mut F,
        offset: u64,
        len: u64,
        image_size: u64,
    ) -> Result<Self, FrameError> {
        if image_size > MAX_IMAGE {
            return malformed(0, "the image is larger than any can be");
        }
        let read =
            |file: &mut F, content| Self::read_table(file, (offset, len), image_size, content);
        match read(file, FRAME_CONTENT) {
            // Of frames of another size; if it is not that either, the first finding says more.
            Err(first @ FrameError::Malformed { .. }) => match read(file, SMALL_FRAME_CONTENT) {
                Err(FrameError::Malformed { .. }) => Err(first),
                found => found,
            },
            found => found,
        }
    }

    /// Reads the table of frames of `content` bytes of image.
    fn read_table<F: Read + Seek>(
        file: &mut F,
        (offset, len): (u64, u64),
        image_size: u64,
        content: usize,
    ) -> Result<Self, FrameError> {
        let count = image_size.div_ceil(content as u64) as usize;
        let Some(table_offset) = len.checked_sub(table_size(count) as u64) else {
            return malformed(0, "it is too short for its seek table");
        };
        let mut table = vec![0; table_size(count)];
        file.seek(SeekFrom::Start(offset.saturating_add(table_offset)))?;
        file.read_exact(&mut table)?;
        let frames = parse(&table, count, table_offset)?;
        for frame in &frames {
            if frame.content != content_at(frame.image_offset, image_size, content) {
                return malformed(
                    table_offset,
                    "a frame in the seek table does not hold 4 or 1 MiB of image, or what is left of it",
                );
            }
            if frame.stored == 0 || frame.stored > MAX_FRAME_STORED {
                return malformed(
                    table_offset,
                    "a frame in the seek table has no possible size",
                );
            }
        }
        let end = frames.last().map_or(0, Frame::stored_end);
        if end != table_offset {
            return malformed(
                table_offset,
                "the frames in the seek table do not fill the payload",
            );
        }
        Ok(Self { frames })
    }

    /// Returns the frames in the image's order.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Returns the frame that holds the image's byte at `image_offset`.
    pub fn find(&self, image_offset: u64) -> Option<&Frame> {
        let index = self
            .frames
            .partition_point(|frame| frame.image_end() <= image_offset);
        let frame = self.frames.get(index)?;
        (image_offset < frame.image_end()).then_some(frame)
    }
}
