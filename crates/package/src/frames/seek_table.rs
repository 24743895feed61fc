//! The seek table: a skippable frame of one entry per frame and a footer of nine bytes.

use super::{little_endian, malformed, Frame, FrameError};

/// First four bytes of the skippable frame that holds a seek table.
const TABLE_MAGIC: u32 = 0x184D_2A5E;
/// Last four bytes of a payload.
const FOOTER_MAGIC: u32 = 0x8F92_EAB1;
/// Bytes of magic and size.
const HEADER: usize = 8;
/// Bytes of the footer: number of frames, descriptor, magic.
pub(super) const FOOTER: usize = 9;
/// Bytes of an entry: stored size, content size.
const ENTRY: usize = 8;

/// Collects the sizes of frames and encodes them as the seek table.
#[derive(Debug, Clone, Default)]
pub struct SeekTable {
    entries: Vec<u8>,
}

impl SeekTable {
    /// Returns an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next frame. Sizes are at most [`super::MAX_FRAME_STORED`] and
    /// [`super::FRAME_CONTENT`].
    pub fn push(&mut self, stored: usize, content: usize) {
        for size in [stored, content] {
            self.entries.extend_from_slice(&(size as u32).to_le_bytes());
        }
    }

    /// Returns the skippable frame that ends a payload.
    pub fn to_bytes(&self) -> Vec<u8> {
        let frames = (self.entries.len() / ENTRY) as u32;
        let size = self.entries.len().saturating_add(FOOTER);
        let mut bytes = Vec::with_capacity(size.saturating_add(HEADER));
        bytes.extend_from_slice(&TABLE_MAGIC.to_le_bytes());
        bytes.extend_from_slice(&(size as u32).to_le_bytes());
        bytes.extend_from_slice(&self.entries);
        bytes.extend_from_slice(&frames.to_le_bytes());
        // No bit set: entries have no checksums.
        bytes.push(0);
        bytes.extend_from_slice(&FOOTER_MAGIC.to_le_bytes());
        bytes
    }
}

/// Returns the size of the table for `frames` frames, bytes.
pub(super) fn table_size(frames: usize) -> usize {
    frames
        .saturating_mul(ENTRY)
        .saturating_add(HEADER)
        .saturating_add(FOOTER)
}

/// Parses a whole table of `frames` frames, located at byte `offset` of the payload.
pub(super) fn parse(table: &[u8], frames: usize, offset: u64) -> Result<Vec<Frame>, FrameError> {
    let bytes = match table.len() == table_size(frames) {
        true => table,
        false => return malformed(offset, "the seek table is cut short"),
    };
    let (header, rest) = bytes.split_at(HEADER);
    let (entries, footer) = rest.split_at(rest.len().saturating_sub(FOOTER));
    let (count, footer) = footer.split_at(4);
    if !matches!(footer, [0, magic @ ..] if *magic == FOOTER_MAGIC.to_le_bytes()) {
        return malformed(offset, "no seek table without checksums ends it");
    }
    if little_endian(count) != frames as u64 {
        return malformed(offset, "the seek table is not that of the image's frames");
    }
    let (magic, size) = header.split_at(4);
    if *magic != TABLE_MAGIC.to_le_bytes() || little_endian(size) != rest.len() as u64 {
        return malformed(offset, "the seek table is not a skippable frame");
    }
    let mut found: Vec<Frame> = Vec::with_capacity(frames);
    for entry in entries.chunks_exact(ENTRY) {
        let (stored, content) = entry.split_at(4);
        let ends = |last: &Frame| (last.image_end(), last.stored_end());
        let (image_offset, stored_offset) = found.last().map_or((0, 0), ends);
        found.push(Frame {
            image_offset,
            content: little_endian(content) as usize,
            stored_offset,
            stored: little_endian(stored) as usize,
        });
    }
    Ok(found)
}
