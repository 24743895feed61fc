//! An ext4 image in memory. Source of the layout: `Documentation/filesystems/ext4` of Linux.

use crate::make::MakeError;

/// Bytes of a block, the only size that is laid out.
pub const BLOCK: usize = 4096;
/// Blocks that a bitmap of one block has bits for.
const MOST_IN_GROUP: u64 = 8 * BLOCK as u64;
pub const SUPER: usize = 1024;
/// `s_log_block_size` of such blocks.
const LOG_BLOCK: u32 = 2;
/// `s_feature_incompat`
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
/// `s_feature_compat`: backups of the super block are in two groups only.
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
/// `s_feature_ro_compat`
const SPARSE_SUPER: u32 = 0x1;
pub const GROUP_CHECKSUMS: u32 = 0x10;
const BIGALLOC: u32 = 0x200;
const METADATA_CHECKSUMS: u32 = 0x400;
/// `bg_flags`
pub const INODES_UNUSED: u16 = 0x1;
pub const BLOCKS_UNUSED: u16 = 0x2;

/// An ext4 image.
pub struct Volume<'a> {
    pub image: &'a [u8],
    pub blocks: u64,
    pub blocks_per_group: u64,
    pub groups: u64,
    pub inodes_per_group: u32,
    pub inode_size: usize,
    /// Bytes of a group's descriptor.
    pub descriptor: usize,
    pub wide: bool,
    compat: u32,
    pub ro_compat: u32,
}

fn form(what: &str) -> MakeError {
    MakeError::Places(format!("the root filesystem {what}"))
}

pub(super) fn damaged() -> MakeError {
    form("is no ext4 image of a known form, or is damaged: run e2fsck -f on it")
}

/// Returns a block of an image, empty beyond its end.
pub fn block(image: &[u8], number: u64) -> &[u8] {
    let start = usize::try_from(number)
        .ok()
        .and_then(|n| n.checked_mul(BLOCK));
    let rest = start.and_then(|start| image.get(start..));
    rest.and_then(|rest| rest.get(..BLOCK)).unwrap_or_default()
}

impl<'a> Volume<'a> {
    /// Reads the super block.
    pub fn open(image: &'a [u8]) -> Result<Self, MakeError> {
        let field = |offset: usize| u32_at(image, SUPER.saturating_add(offset));
        let small = |offset: usize| u16_at(image, SUPER.saturating_add(offset));
        let read = || {
            let incompat = field(0x60)?;
            let wide = incompat & INCOMPAT_64BIT != 0;
            let (blocks, per_group) = (u64::from(field(0x4)?), u64::from(field(0x20)?));
            let known = small(0x38)? == 0xEF53
                && field(0x18)? == LOG_BLOCK
                && field(0x14)? == 0
                && field(0x64)? & BIGALLOC == 0
                && per_group > 0
                && per_group <= MOST_IN_GROUP
                && blocks.checked_mul(BLOCK as u64)? <= image.len() as u64;
            known.then_some(())?;
            Some(Volume {
                image,
                blocks,
                blocks_per_group: per_group,
                groups: blocks.div_ceil(per_group),
                inodes_per_group: field(0x28).filter(|count| *count > 0)?,
                inode_size: usize::from(small(0x58)?),
                descriptor: match wide {
                    true => usize::from(small(0xFE)?),
                    false => 32,
                },
                wide,
                compat: field(0x5C)?,
                ro_compat: field(0x64)?,
            })
        };
        if small(0x38) == Some(0xEF53) {
            if field(0x18) != Some(LOG_BLOCK) {
                return Err(form(
                    "has blocks of another size than 4096 bytes: make it with mkfs.ext4 -b 4096",
                ));
            }
            if field(0x60).is_some_and(|incompat| incompat & INCOMPAT_META_BG != 0) {
                return Err(form(
                    "has its descriptors in meta block groups: make it without them \
                     (mkfs.ext4 -O ^meta_bg)",
                ));
            }
            if field(0x64).is_some_and(|ro_compat| ro_compat & METADATA_CHECKSUMS != 0) {
                return Err(form(
                    "has metadata checksums: make it without them (mkfs.ext4 -O ^metadata_csum)",
                ));
            }
        }
        let volume = read().ok_or_else(damaged)?;
        match (128..=BLOCK).contains(&volume.inode_size) && (32..=64).contains(&volume.descriptor) {
            true => Ok(volume),
            false => Err(damaged()),
        }
    }

    /// Returns the offset of a group's descriptor in the table.
    pub(super) fn descriptor_at(&self, group: u64) -> Option<usize> {
        usize::try_from(group).ok()?.checked_mul(self.descriptor)
    }

    pub(super) fn descriptor(&self, group: u64) -> Option<&'a [u8]> {
        let start = BLOCK.checked_add(self.descriptor_at(group)?)?;
        self.image.get(start..)?.get(..self.descriptor)
    }

    /// Returns a block number in a descriptor, whose high half is at `high`.
    pub(super) fn number(&self, group: u64, low: usize, high: usize) -> Option<u64> {
        let descriptor = self.descriptor(group)?;
        let high = match self.wide && self.descriptor >= 64 {
            true => u32_at(descriptor, high)?,
            false => 0,
        };
        Some(u64::from(high) << 32 | u64::from(u32_at(descriptor, low)?))
    }

    pub(super) fn block_bitmap(&self, group: u64) -> Option<u64> {
        self.number(group, 0x0, 0x20)
    }

    pub(super) fn inode_bitmap(&self, group: u64) -> Option<u64> {
        self.number(group, 0x4, 0x24)
    }

    pub(super) fn inode_table(&self, group: u64) -> Option<u64> {
        self.number(group, 0x8, 0x28)
    }

    pub(super) fn flags(&self, group: u64) -> Option<u16> {
        let flags = u16_at(self.descriptor(group)?, 0x12)?;
        let has_flags = self.ro_compat & GROUP_CHECKSUMS != 0;
        Some(if has_flags { flags } else { 0 })
    }

    pub(super) fn first_block(&self, group: u64) -> u64 {
        group.saturating_mul(self.blocks_per_group)
    }

    /// Blocks of the table of descriptors.
    pub(super) fn table_blocks(&self) -> u64 {
        let bytes = self.groups.saturating_mul(self.descriptor as u64);
        bytes.div_ceil(BLOCK as u64)
    }

    /// Tells whether a group begins with a copy of the super block and of the descriptors.
    pub(super) fn has_super(&self, group: u64) -> bool {
        let power = |base: u64| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        if self.compat & COMPAT_SPARSE_SUPER2 != 0 {
            let copies =
                [0x24C, 0x250].map(|offset| u32_at(self.image, SUPER.saturating_add(offset)));
            return group == 0 || copies.contains(&u32::try_from(group).ok());
        }
        self.ro_compat & SPARSE_SUPER == 0 || group <= 1 || [3, 5, 7].into_iter().any(power)
    }

    /// Returns which blocks are in use.
    pub fn used(&self) -> Result<Vec<bool>, MakeError> {
        let read = || {
            let mut used = vec![false; usize::try_from(self.blocks).ok()?];
            for group in 0..self.groups {
                let first = self.first_block(group);
                if self.flags(group)? & BLOCKS_UNUSED == 0 {
                    let bitmap = block(self.image, self.block_bitmap(group)?);
                    for index in 0..self.blocks_per_group {
                        let byte = bitmap.get(usize::try_from(index / 8).ok()?)?;
                        let at = usize::try_from(first.checked_add(index)?).ok()?;
                        if let Some(used) = used.get_mut(at) {
                            *used = byte >> (index % 8) & 1 == 1;
                        }
                    }
                } else if self.has_super(group) {
                    let reserved = u64::from(u16_at(self.image, SUPER.saturating_add(0xCE))?);
                    let count = self.table_blocks().checked_add(reserved)?.checked_add(1)?;
                    mark(&mut used, first, count)?;
                }
            }
            let own = self.own().ok()?;
            Some(
                used.iter()
                    .zip(own)
                    .map(|(used, own)| *used || own)
                    .collect(),
            )
        };
        read().ok_or_else(damaged)
    }

    /// Returns which blocks hold super blocks, descriptors, bitmaps and inodes.
    pub fn own(&self) -> Result<Vec<bool>, MakeError> {
        let read = || {
            let mut own = vec![false; usize::try_from(self.blocks).ok()?];
            let inodes = u64::from(self.inodes_per_group).checked_mul(self.inode_size as u64)?;
            for group in 0..self.groups {
                if self.has_super(group) {
                    let count = self.table_blocks().checked_add(1)?;
                    mark(&mut own, self.first_block(group), count)?;
                }
                mark(&mut own, self.block_bitmap(group)?, 1)?;
                mark(&mut own, self.inode_bitmap(group)?, 1)?;
                let length = inodes.div_ceil(BLOCK as u64);
                mark(&mut own, self.inode_table(group)?, length)?;
            }
            Some(own)
        };
        read().ok_or_else(damaged)
    }
}

fn mark(used: &mut [bool], first: u64, count: u64) -> Option<()> {
    let first = usize::try_from(first).ok()?;
    let end = first.checked_add(usize::try_from(count).ok()?)?;
    used.get_mut(first..end)?.fill(true);
    Some(())
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*field))
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}
