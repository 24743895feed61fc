//! Lists of blocks, and the extents that inodes hold them as.

use super::write::put;
use crate::make::ext4::{Extent, LONGEST_EXTENT};

/// Extents that fit into an inode.
pub const MOST_EXTENTS: usize = 4;

/// The blocks of a file: each one's number in the file, and in the image, in the file's order.
pub type Blocks = Vec<(u32, u64)>;

impl Extent {
    /// Returns the block after the last one.
    pub fn end(&self) -> u64 {
        self.place.saturating_add(self.length.into())
    }
}

/// Joins adjacent blocks.
pub fn extents(blocks: &[(u32, u64)]) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    for (number, place) in blocks {
        let joined = extents.last().and_then(|last| {
            let is_next = last.number.checked_add(last.length.into()) == Some(*number)
                && last.end() == *place
                && last.length < LONGEST_EXTENT;
            is_next.then_some(last.length.saturating_add(1))
        });
        match (extents.last_mut(), joined) {
            (Some(last), Some(length)) => last.length = length,
            _ => extents.push(Extent {
                number: *number,
                place: *place,
                length: 1,
            }),
        }
    }
    extents
}

/// Writes the extents of a file's blocks to its inode's `i_block`.
pub fn write_extents(list: &mut [u8], blocks: &[(u32, u64)]) -> Option<()> {
    let extents = extents(blocks);
    put(list, 2, &u16::try_from(extents.len()).ok()?.to_le_bytes())?;
    list.get_mut(12..)?.fill(0);
    for (entry, extent) in list.get_mut(12..)?.chunks_exact_mut(12).zip(&extents) {
        put(entry, 0, &extent.number.to_le_bytes())?;
        put(entry, 4, &extent.length.to_le_bytes())?;
        put(
            entry,
            6,
            &u16::try_from(extent.place >> 32).ok()?.to_le_bytes(),
        )?;
        put(
            entry,
            8,
            &u32::try_from(extent.place & 0xFFFF_FFFF)
                .ok()?
                .to_le_bytes(),
        )?;
    }
    (extents.len() <= MOST_EXTENTS).then_some(())
}
