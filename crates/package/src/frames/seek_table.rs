//! The seek table, byte by byte: a skippable frame of one entry per frame and a footer of nine bytes.

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

/// Collects the sizes of frames and writes them as the seek table.
#[derive(Debug, Clone, Default)]
pub struct SeekTable {
    entries: Vec<u8>,
}

impl SeekTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next frame. Sizes are at most [`super::MAX_FRAME_STORED`] and [`super::FRAME_CONTENT`].
    pub fn push(&mut self, stored: usize, content: usize) {
        for size in [stored, content] {
            self.entries.extend_from_slice(&(size as u32).to_le_bytes());
        }
    }

    /// The skippable frame that ends a payload.
    pub fn to_bytes(&self) -> Vec<u8> {
        let frames = (self.entries.len() / ENTRY) as u32;
        let mut bytes = Vec::with_capacity(HEADER + self.entries.len() + FOOTER);
        bytes.extend_from_slice(&TABLE_MAGIC.to_le_bytes());
        bytes.extend_from_slice(&((self.entries.len() + FOOTER) as u32).to_le_bytes());
        bytes.extend_from_slice(&self.entries);
        bytes.extend_from_slice(&frames.to_le_bytes());
        // No bit of the descriptor set: entries have no checksums.
        bytes.push(0);
        bytes.extend_from_slice(&FOOTER_MAGIC.to_le_bytes());
        bytes
    }
}

/// Bytes of the table of a payload with `frames` frames.
pub(super) fn table_size(frames: usize) -> usize {
    HEADER + frames * ENTRY + FOOTER
}

/// Reads a whole table of `frames` frames, which starts at byte `offset` of the payload.
pub(super) fn parse(table: &[u8], frames: usize, offset: u64) -> Result<Vec<Frame>, FrameError> {
    let bytes = match table.len() == table_size(frames) {
        true => table,
        false => return malformed(offset, "the seek table is cut short"),
    };
    let (header, rest) = bytes.split_at(HEADER);
    let (entries, footer) = rest.split_at(rest.len() - FOOTER);
    let number = |bytes: &[u8]| little_endian(bytes);
    if number(&footer[5..]) != u64::from(FOOTER_MAGIC) || footer[4] != 0 {
        return malformed(offset, "no seek table without checksums ends it");
    }
    if number(&footer[..4]) != frames as u64 {
        return malformed(offset, "the seek table is not that of the image's frames");
    }
    if number(&header[..4]) != u64::from(TABLE_MAGIC) || number(&header[4..]) != (rest.len()) as u64
    {
        return malformed(offset, "the seek table is not a skippable frame");
    }
    let mut found: Vec<Frame> = Vec::with_capacity(frames);
    for entry in entries.chunks_exact(ENTRY) {
        let (stored, content) = entry.split_at(4);
        let (image_offset, stored_offset) = found.last().map_or((0, 0), |last| {
            (
                last.image_offset + last.content as u64,
                last.stored_offset + last.stored as u64,
            )
        });
        found.push(Frame {
            image_offset,
            content: number(content) as usize,
            stored_offset,
            stored: number(stored) as usize,
        });
    }
    Ok(found)
}
