//! An ext4 file system's super block: its size, features and state.
//!
//! The rest of the file system is not checked here; the packager runs `e2fsck -fn` on it. Source of
//! the layout: `fs/ext4/ext4.h` of Linux, `struct ext4_super_block`.

use thiserror::Error;

/// Length of the start of an image that holds its super block, bytes.
pub const SUPER_BLOCK_END: usize = 2048;

/// Offset of the super block in the image.
const START: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// The dynamic revision, the only one with feature fields.
const DYNAMIC_REVISION: u32 = 1;
/// Largest block, bytes, that a kernel with pages of 4096 bytes mounts.
const MAX_BLOCK_SIZE: u64 = 4096;
/// `s_state`: unmounted cleanly.
const STATE_VALID: u16 = 1;
/// `s_state`: the kernel found errors.
const STATE_ERRORS: u16 = 2;
/// `s_feature_incompat`: sizes have a high half.
const INCOMPAT_64BIT: u32 = 0x80;

/// Supported features of a root filesystem, by field and bit: those that the kernel mounts for
/// writing with no configuration beyond `CONFIG_EXT4_FS`, and that e2fsck and resize2fs of
/// e2fsprogs 1.47 check and grow. All others are refused, known ones by name.
const SUPPORTED: [(Field, u32, &str); 24] = [
    (Field::Compat, 0x1, "dir_prealloc"),
    (Field::Compat, 0x4, "has_journal"),
    (Field::Compat, 0x8, "ext_attr"),
    (Field::Compat, 0x10, "resize_inode"),
    (Field::Compat, 0x20, "dir_index"),
    (Field::Compat, 0x200, "sparse_super2"),
    (Field::Compat, 0x400, "fast_commit"),
    (Field::Compat, 0x1000, "orphan_file"),
    (Field::Incompat, 0x2, "filetype"),
    (Field::Incompat, 0x10, "meta_bg"),
    (Field::Incompat, 0x40, "extent"),
    (Field::Incompat, INCOMPAT_64BIT, "64bit"),
    (Field::Incompat, 0x200, "flex_bg"),
    (Field::Incompat, 0x400, "ea_inode"),
    (Field::Incompat, 0x2000, "metadata_csum_seed"),
    (Field::Incompat, 0x4000, "large_dir"),
    (Field::Incompat, 0x8000, "inline_data"),
    (Field::RoCompat, 0x1, "sparse_super"),
    (Field::RoCompat, 0x2, "large_file"),
    (Field::RoCompat, 0x8, "huge_file"),
    (Field::RoCompat, 0x10, "uninit_bg"),
    (Field::RoCompat, 0x20, "dir_nlink"),
    (Field::RoCompat, 0x40, "extra_isize"),
    (Field::RoCompat, 0x400, "metadata_csum"),
];

/// Known features that are not in [`SUPPORTED`], for messages.
const REFUSED: [(Field, u32, &str); 14] = [
    (Field::Compat, 0x800, "stable_inodes"),
    (Field::Incompat, 0x1, "compression"),
    (Field::Incompat, 0x4, "needs_recovery"),
    (Field::Incompat, 0x8, "journal_dev"),
    (Field::Incompat, 0x100, "mmp"),
    (Field::Incompat, 0x1000, "dirdata"),
    (Field::Incompat, 0x10000, "encrypt"),
    (Field::Incompat, 0x20000, "casefold"),
    (Field::RoCompat, 0x100, "quota"),
    (Field::RoCompat, 0x200, "bigalloc"),
    (Field::RoCompat, 0x1000, "read-only"),
    (Field::RoCompat, 0x2000, "project"),
    (Field::RoCompat, 0x8000, "verity"),
    (Field::RoCompat, 0x10000, "orphan_present"),
];

/// A field of feature bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Compat,
    Incompat,
    RoCompat,
}

/// The parts of a super block that decide whether a terminal can install the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuperBlock {
    /// Size of the file system, bytes.
    pub size: u64,
    /// Free space, bytes: `s_free_blocks_count`.
    pub free: u64,
    /// Size of a block, bytes.
    pub block_size: u64,
    /// `s_feature_compat`.
    pub compat: u32,
    /// `s_feature_incompat`.
    pub incompat: u32,
    /// `s_feature_ro_compat`.
    pub ro_compat: u32,
    /// `s_state`.
    pub state: u16,
}

/// A reason why a file system cannot be installed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Ext4Error {
    /// There is no super block.
    #[error("it is not an ext4 file system")]
    NotExt4,
    /// The super block contradicts itself.
    #[error("its ext4 super block is damaged: {0}")]
    Damaged(&'static str),
    /// The kernel does not mount blocks of this size.
    #[error(
        "its blocks have {0} bytes, more than the 4096 that a terminal mounts: \
         make it with mkfs.ext4 -b 4096"
    )]
    BlockSize(u64),
    /// RecoveryOS or the kernel does not support some features.
    #[error(
        "it has ext4 features that terminals do not support: {}: \
         make it without them (mkfs.ext4 -O ^FEATURE)",
        .0.join(", ")
    )]
    Features(Vec<String>),
    /// It is mounted, or was not unmounted cleanly.
    #[error("it was not unmounted cleanly, or has errors: run e2fsck -f on it, then build again")]
    Unclean,
    /// The file system is larger than the image.
    #[error("it is a file system of {size} bytes in an image of {image}: the image was cut short")]
    CutShort {
        /// Size of the file system, bytes.
        size: u64,
        /// Size of the image, bytes.
        image: u64,
    },
    /// The image's size is not a multiple of 4096 bytes, which RecoveryOS writes in.
    #[error("the image has {0} bytes, which is not a multiple of 4096: pad it with zeros")]
    ImageSize(u64),
}

impl SuperBlock {
    /// Reads the super block from the first bytes of an image, at least [`SUPER_BLOCK_END`].
    ///
    /// # Errors
    /// There is no ext4 file system, or its super block contradicts itself.
    pub fn parse(start: &[u8]) -> Result<Self, Ext4Error> {
        let block = start
            .get(START..SUPER_BLOCK_END)
            .ok_or(Ext4Error::NotExt4)?;
        if u16_at(block, 0x38) != MAGIC {
            return Err(Ext4Error::NotExt4);
        }
        if u32_at(block, 0x4C) < DYNAMIC_REVISION {
            return Err(Ext4Error::Damaged("it has an old revision"));
        }
        let incompat = u32_at(block, 0x60);
        let high = match incompat & INCOMPAT_64BIT {
            0 => 0,
            _ => u32_at(block, 0x150),
        };
        let blocks = u64::from(high) << 32 | u64::from(u32_at(block, 0x4));
        // 1024 bytes shifted by at most 6: ext4's largest block has 64 KiB.
        let shift = u32_at(block, 0x18);
        if shift > 6 {
            return Err(Ext4Error::Damaged("it has impossible blocks"));
        }
        let block_size = 1024 << shift;
        let size = blocks
            .checked_mul(block_size)
            .filter(|size| *size > 0)
            .ok_or(Ext4Error::Damaged("it has an impossible size"))?;
        let high = match incompat & INCOMPAT_64BIT {
            0 => 0,
            _ => u32_at(block, 0x158),
        };
        let free = u64::from(high) << 32 | u64::from(u32_at(block, 0xC));
        Ok(Self {
            size,
            free: free.saturating_mul(block_size).min(size),
            block_size,
            compat: u32_at(block, 0x5C),
            incompat,
            ro_compat: u32_at(block, 0x64),
            state: u16_at(block, 0x3A),
        })
    }

    /// Checks that a terminal can install an image of `image` bytes with this file system.
    ///
    /// # Errors
    /// RecoveryOS or the kernel would refuse it.
    pub fn check(&self, image: u64) -> Result<(), Ext4Error> {
        if image % MAX_BLOCK_SIZE != 0 {
            return Err(Ext4Error::ImageSize(image));
        }
        if self.size > image {
            return Err(Ext4Error::CutShort {
                size: self.size,
                image,
            });
        }
        if self.block_size > MAX_BLOCK_SIZE {
            return Err(Ext4Error::BlockSize(self.block_size));
        }
        let features = self.unsupported();
        if !features.is_empty() {
            return Err(Ext4Error::Features(features));
        }
        if self.state & STATE_VALID == 0 || self.state & STATE_ERRORS != 0 {
            return Err(Ext4Error::Unclean);
        }
        Ok(())
    }

    /// Returns the unsupported features by their names in e2fsprogs.
    pub fn unsupported(&self) -> Vec<String> {
        let fields = [
            (Field::Compat, "compat", self.compat),
            (Field::Incompat, "incompat", self.incompat),
            (Field::RoCompat, "ro_compat", self.ro_compat),
        ];
        let mut found = Vec::new();
        for (field, name, bits) in fields {
            for bit in (0..u32::BITS).map(|shift| 1_u32 << shift) {
                let is_bit = |known: &&(Field, u32, &str)| known.0 == field && known.1 == bit;
                if bits & bit == 0 || SUPPORTED.iter().any(|known| is_bit(&known)) {
                    continue;
                }
                let known = REFUSED.iter().find(is_bit);
                found
                    .push(known.map_or_else(|| format!("{name} {bit:#x}"), |known| known.2.into()));
            }
        }
        found
    }
}

/// Reads a little-endian number; 0 beyond the end.
fn u32_at(block: &[u8], offset: usize) -> u32 {
    let bytes = block.get(offset..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u16_at(block: &[u8], offset: usize) -> u16 {
    let bytes = block.get(offset..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
