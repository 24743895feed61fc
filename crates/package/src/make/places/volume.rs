//! An ext4 image in memory: its groups, and the blocks in use.

use crate::make::ext4::{u16_at, u32_at, Layout, Unknown, BLOCK, GROUP_CHECKSUMS, SUPER};
use crate::make::MakeError;

/// `s_feature_compat`: backups of the super block are in two groups only.
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
/// `s_feature_ro_compat`
const SPARSE_SUPER: u32 = 0x1;
const METADATA_CHECKSUMS: u32 = 0x400;
/// `bg_flags`
pub const INODES_UNUSED: u16 = 0x1;
pub const BLOCKS_UNUSED: u16 = 0x2;

/// An ext4 image.
pub struct Volume<'a> {
    pub image: &'a [u8],
    pub layout: Layout,
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
        let super_block = image.get(SUPER..).unwrap_or_default();
        let layout = Layout::parse(super_block, image.len() as u64);
        let layout = layout.map_err(|unknown| match unknown {
            Unknown::BlockSize => {
                form("has blocks of another size than 4096 bytes: make it with mkfs.ext4 -b 4096")
            }
            Unknown::MetaGroups => form(
                "has its descriptors in meta block groups: make it without them \
                 (mkfs.ext4 -O ^meta_bg)",
            ),
            Unknown::Form => damaged(),
        })?;
        if layout.ro_compat & METADATA_CHECKSUMS != 0 {
            return Err(form(
                "has metadata checksums: make it without them (mkfs.ext4 -O ^metadata_csum)",
            ));
        }
        Ok(Volume { image, layout })
    }

    /// Returns the offset of a group's descriptor in the table.
    pub(super) fn descriptor_at(&self, group: u64) -> Option<usize> {
        usize::try_from(group)
            .ok()?
            .checked_mul(self.layout.descriptor)
    }

    pub(super) fn descriptor(&self, group: u64) -> Option<&'a [u8]> {
        let start = BLOCK.checked_add(self.descriptor_at(group)?)?;
        self.image.get(start..)?.get(..self.layout.descriptor)
    }

    pub(super) fn block_bitmap(&self, group: u64) -> Option<u64> {
        self.layout.number(self.descriptor(group)?, 0x0, 0x20)
    }

    pub(super) fn inode_bitmap(&self, group: u64) -> Option<u64> {
        self.layout.number(self.descriptor(group)?, 0x4, 0x24)
    }

    pub(super) fn inode_table(&self, group: u64) -> Option<u64> {
        self.layout.inode_table(self.descriptor(group)?)
    }

    pub(super) fn flags(&self, group: u64) -> Option<u16> {
        let flags = u16_at(self.descriptor(group)?, 0x12)?;
        let has_flags = self.layout.ro_compat & GROUP_CHECKSUMS != 0;
        Some(if has_flags { flags } else { 0 })
    }

    pub(super) fn first_block(&self, group: u64) -> u64 {
        group.saturating_mul(self.layout.blocks_per_group)
    }

    /// Blocks of the table of descriptors.
    pub(super) fn table_blocks(&self) -> u64 {
        let bytes = self
            .layout
            .groups
            .saturating_mul(self.layout.descriptor as u64);
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
        if self.layout.compat & COMPAT_SPARSE_SUPER2 != 0 {
            let copies =
                [0x24C, 0x250].map(|offset| u32_at(self.image, SUPER.saturating_add(offset)));
            return group == 0 || copies.contains(&u32::try_from(group).ok());
        }
        self.layout.ro_compat & SPARSE_SUPER == 0 || group <= 1 || [3, 5, 7].into_iter().any(power)
    }

    /// Returns which blocks are in use.
    pub fn used(&self) -> Result<Vec<bool>, MakeError> {
        let read = || {
            let mut used = vec![false; usize::try_from(self.layout.blocks).ok()?];
            for group in 0..self.layout.groups {
                let first = self.first_block(group);
                if self.flags(group)? & BLOCKS_UNUSED == 0 {
                    let bitmap = block(self.image, self.block_bitmap(group)?);
                    for index in 0..self.layout.blocks_per_group {
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
            let mut own = vec![false; usize::try_from(self.layout.blocks).ok()?];
            let inodes = u64::from(self.layout.inodes_per_group)
                .checked_mul(self.layout.inode_size as u64)?;
            for group in 0..self.layout.groups {
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
