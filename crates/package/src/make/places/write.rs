//! Writes an image with files moved: their blocks, their inodes, bitmaps and descriptors.

use std::collections::BTreeMap;

use super::extents::write_extents;
use super::files::File;
use super::plan::Moved;
use super::volume::{block, damaged, Volume, BLOCKS_UNUSED};
use crate::make::ext4::{u16_at, BLOCK, GROUP_CHECKSUMS, SUPER};
use crate::make::MakeError;

/// Where the super block holds the file system's UUID.
const UUID: std::ops::Range<usize> = SUPER + 0x68..SUPER + 0x78;

impl Volume<'_> {
    /// Returns the image with files moved.
    pub fn moved(&self, files: &BTreeMap<u32, File>, moved: &Moved) -> Result<Vec<u8>, MakeError> {
        let write = || {
            let mut used = self.used().ok()?;
            let mut image = self.image.to_vec();
            for (number, _) in moved.iter() {
                for (_, place) in &files.get(number)?.blocks {
                    at(&mut image, *place)?.fill(0);
                    *used.get_mut(usize::try_from(*place).ok()?)? = false;
                }
            }
            for (number, blocks) in moved.iter() {
                for ((_, from), (_, to)) in files.get(number)?.blocks.iter().zip(blocks) {
                    at(&mut image, *to)?.copy_from_slice(block(self.image, *from));
                    *used.get_mut(usize::try_from(*to).ok()?)? = true;
                }
                let inode = self.inode_at(*number)?;
                let list = image.get_mut(inode..)?.get_mut(0x28..0x64)?;
                write_extents(list, blocks)?;
            }
            self.write_groups(&mut image, &used)?;
            Some(image)
        };
        write().ok_or_else(damaged)
    }

    /// Writes bitmaps and descriptors for the blocks in use.
    fn write_groups(&self, image: &mut [u8], used: &[bool]) -> Option<()> {
        let before = self.used().ok()?;
        for group in 0..self.layout.groups {
            let first = usize::try_from(self.first_block(group)).ok()?;
            let end = used
                .len()
                .min(first.checked_add(usize::try_from(self.layout.blocks_per_group).ok()?)?);
            let (is, was) = (used.get(first..end)?, before.get(first..end)?);
            if is == was {
                continue;
            }
            let bitmap = at(image, self.block_bitmap(group)?)?;
            // Bits beyond the group's end are set.
            bitmap.fill(0xFF);
            for (index, used) in is.iter().enumerate() {
                if !used {
                    let byte = bitmap.get_mut(index.checked_div(8)?)?;
                    *byte &= !(1 << (index % 8));
                }
            }
            let free = is.iter().filter(|used| !**used).count();
            let descriptor = self.descriptor_at(group)?.checked_add(BLOCK)?;
            let descriptor = image
                .get_mut(descriptor..)?
                .get_mut(..self.layout.descriptor)?;
            put(descriptor, 0x0C, &u16::try_from(free).ok()?.to_le_bytes())?;
            let flags = u16_at(descriptor, 0x12)? & !BLOCKS_UNUSED;
            put(descriptor, 0x12, &flags.to_le_bytes())?;
            if self.layout.ro_compat & GROUP_CHECKSUMS != 0 {
                let sum = self.checksum(group, descriptor)?;
                put(descriptor, 0x1E, &sum.to_le_bytes())?;
            }
        }
        // The copies.
        let length = usize::try_from(self.table_blocks())
            .ok()?
            .checked_mul(BLOCK)?;
        let table = image.get(BLOCK..)?.get(..length)?.to_vec();
        for group in (1..self.layout.groups).filter(|group| self.has_super(*group)) {
            let start = usize::try_from(self.first_block(group).checked_add(1)?).ok()?;
            put(image, start.checked_mul(BLOCK)?, &table)?;
        }
        Some(())
    }

    /// Returns a descriptor's `bg_checksum`: CRC-16 of the file system's UUID, the group's number and
    /// the descriptor without the field itself.
    fn checksum(&self, group: u64, descriptor: &[u8]) -> Option<u16> {
        let uuid = self.image.get(UUID)?;
        let number = u32::try_from(group).ok()?.to_le_bytes();
        let rest = match self.layout.wide {
            true => descriptor.get(0x20..)?,
            false => &[],
        };
        let parts = [uuid, &number, descriptor.get(..0x1E)?, rest];
        Some(
            parts
                .into_iter()
                .flatten()
                .fold(0xFFFF, |sum, byte| crc16(sum, *byte)),
        )
    }
}

/// CRC-16 with the polynomial 0x8005, bits reversed.
fn crc16(sum: u16, byte: u8) -> u16 {
    (0..8).fold(sum ^ u16::from(byte), |sum, _| match sum & 1 {
        1 => sum >> 1 ^ 0xA001,
        _ => sum >> 1,
    })
}

fn at(image: &mut [u8], number: u64) -> Option<&mut [u8]> {
    let start = usize::try_from(number).ok()?.checked_mul(BLOCK)?;
    image.get_mut(start..)?.get_mut(..BLOCK)
}

pub fn put(bytes: &mut [u8], offset: usize, field: &[u8]) -> Option<()> {
    let place = bytes.get_mut(offset..)?.get_mut(..field.len())?;
    place.copy_from_slice(field);
    Some(())
}
