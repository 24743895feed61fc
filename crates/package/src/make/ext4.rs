//! The layout of an ext4 image, for those who look for its files. Source: `Documentation/filesystems/ext4`
//! of Linux.

/// Bytes of a block, the only size that is looked into.
pub const BLOCK: usize = 4096;
/// Offset of the super block, and its bytes.
pub const SUPER: usize = 1024;
pub const ROOT_INODE: u32 = 2;
/// Bytes of an inode that are read: those that every inode has.
pub const INODE: usize = 128;
/// `s_feature_ro_compat`: descriptors have flags and checksums.
pub const GROUP_CHECKSUMS: u32 = 0x10;
/// Blocks of the longest extent; longer ones are not written yet, and read as zeros.
pub const LONGEST_EXTENT: u16 = 0x8000;

const MAGIC: u16 = 0xEF53;
/// `s_log_block_size` of blocks of [`BLOCK`] bytes.
const LOG_BLOCK: u32 = 2;
/// Blocks that a bitmap of one block has bits for.
const MOST_IN_GROUP: u64 = 8 * BLOCK as u64;
/// `s_feature_incompat`
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
/// `s_feature_ro_compat`
const BIGALLOC: u32 = 0x200;
const EXTENT_MAGIC: u16 = 0xF30A;
/// `i_flags`: the blocks are listed as extents; the content lies in the inode.
const EXTENTS: u32 = 0x8_0000;
const INLINE_DATA: u32 = 0x1000_0000;

/// Where groups and inodes lie.
#[derive(Debug, Clone)]
pub struct Layout {
    pub blocks: u64,
    pub blocks_per_group: u64,
    pub groups: u64,
    pub inodes: u32,
    pub inodes_per_group: u32,
    pub inode_size: usize,
    /// Bytes of a group's descriptor.
    pub descriptor: usize,
    /// Whether descriptors have high halves.
    pub wide: bool,
    pub compat: u32,
    pub ro_compat: u32,
}

/// Why an image is not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Its blocks have another size.
    BlockSize,
    /// Its descriptors are spread over the image.
    MetaGroups,
    /// It is no ext4 image, or is damaged.
    Form,
}

impl Layout {
    /// Reads the super block of an image of `size` bytes.
    pub fn parse(super_block: &[u8], size: u64) -> Result<Self, Unknown> {
        let field = |offset| u32_at(super_block, offset);
        let small = |offset| u16_at(super_block, offset);
        if small(0x38) != Some(MAGIC) {
            return Err(Unknown::Form);
        }
        if field(0x18) != Some(LOG_BLOCK) {
            return Err(Unknown::BlockSize);
        }
        if field(0x60).is_some_and(|incompat| incompat & INCOMPAT_META_BG != 0) {
            return Err(Unknown::MetaGroups);
        }
        let read = || {
            let wide = field(0x60)? & INCOMPAT_64BIT != 0;
            let (blocks, blocks_per_group) = (u64::from(field(0x4)?), u64::from(field(0x20)?));
            let layout = Self {
                blocks,
                blocks_per_group,
                groups: blocks
                    .checked_next_multiple_of(blocks_per_group)?
                    .checked_div(blocks_per_group)?,
                inodes: field(0x0)?,
                inodes_per_group: field(0x28)?,
                inode_size: usize::from(small(0x58)?),
                descriptor: match wide {
                    true => usize::from(small(0xFE)?),
                    false => 32,
                },
                wide,
                compat: field(0x5C)?,
                ro_compat: field(0x64)?,
            };
            let first_block = field(0x14)?;
            let is_known = first_block == 0
                && layout.ro_compat & BIGALLOC == 0
                && blocks_per_group <= MOST_IN_GROUP
                && blocks.checked_mul(BLOCK as u64)? <= size
                && layout.inodes_per_group > 0
                && (INODE..=BLOCK).contains(&layout.inode_size)
                && (32..=64).contains(&layout.descriptor);
            is_known.then_some(layout)
        };
        read().ok_or(Unknown::Form)
    }

    /// Returns a number in a descriptor whose low half is at `low`, and its high half, if there is one,
    /// at `high`.
    pub fn number(&self, descriptor: &[u8], low: usize, high: usize) -> Option<u64> {
        let high = match self.wide && self.descriptor >= 64 {
            true => u32_at(descriptor, high)?,
            false => 0,
        };
        Some(u64::from(high) << 32 | u64::from(u32_at(descriptor, low)?))
    }

    /// Returns the first block of a group's table of inodes.
    pub fn inode_table(&self, descriptor: &[u8]) -> Option<u64> {
        self.number(descriptor, 0x8, 0x28)
    }

    /// Returns an inode's group, and its offset in the group's table.
    pub fn inode(&self, number: u32) -> Option<(u64, u64)> {
        let index = number.checked_sub(1).filter(|_| number <= self.inodes)?;
        let within = u64::from(index.checked_rem(self.inodes_per_group)?);
        let group = index.checked_div(self.inodes_per_group)?;
        Some((group.into(), within.checked_mul(self.inode_size as u64)?))
    }
}

/// A file, a folder or something else.
#[derive(Debug, Clone, Copy)]
pub struct Inode<'a>(&'a [u8]);

impl<'a> Inode<'a> {
    /// Returns the inode whose first [`INODE`] bytes these are.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        bytes.get(..INODE).map(Inode)
    }

    /// Tells whether it is in use.
    pub fn is_linked(&self) -> Option<bool> {
        Some(u16_at(self.0, 0)? != 0 && u16_at(self.0, 0x1A)? != 0)
    }

    /// Tells whether it is a folder.
    pub fn is_folder(&self) -> Option<bool> {
        Some(u16_at(self.0, 0)? >> 12 == 0x4)
    }

    /// Tells whether it is a regular file.
    pub fn is_file(&self) -> Option<bool> {
        Some(u16_at(self.0, 0)? >> 12 == 0x8)
    }

    /// Returns the root of the tree of its extents; `Some(None)` if its content is kept otherwise.
    pub fn extents(&self) -> Option<Option<Node<'a>>> {
        let flags = u32_at(self.0, 0x20)?;
        if flags & EXTENTS == 0 || flags & INLINE_DATA != 0 {
            return Some(None);
        }
        Node::of(self.0.get(0x28..0x64)?).map(Some)
    }
}

/// A node in a tree of extents.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// 0: its entries are extents.
    pub depth: u16,
    entries: &'a [u8],
}

/// Adjacent blocks of a file.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Number of the first block in the file.
    pub number: u32,
    /// The first block.
    pub place: u64,
    /// Number of blocks, see [`LONGEST_EXTENT`].
    pub length: u16,
}

impl<'a> Node<'a> {
    /// Returns the node in these bytes.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let entries = usize::from(u16_at(bytes, 2)?);
        let rest = bytes.get(12..)?;
        let is_node = u16_at(bytes, 0)? == EXTENT_MAGIC;
        is_node.then_some(Node {
            depth: u16_at(bytes, 6)?,
            entries: rest.get(..entries.saturating_mul(12)).unwrap_or(rest),
        })
    }

    /// Returns the extents of a node of depth 0.
    pub fn extents(self) -> impl Iterator<Item = Option<Extent>> + 'a {
        self.entries.chunks_exact(12).map(|entry| {
            Some(Extent {
                number: u32_at(entry, 0)?,
                place: u64::from(u16_at(entry, 6)?) << 32 | u64::from(u32_at(entry, 8)?),
                length: u16_at(entry, 4)?,
            })
        })
    }

    /// Returns the blocks with the nodes below one of another depth.
    pub fn children(self) -> impl Iterator<Item = Option<u64>> + 'a {
        self.entries
            .chunks_exact(12)
            .map(|entry| Some(u64::from(u16_at(entry, 8)?) << 32 | u64::from(u32_at(entry, 4)?)))
    }
}

/// Returns the names in a block of a folder with their inodes, without those of itself and its parent.
pub fn names(block: &[u8]) -> Option<Vec<(&[u8], u32)>> {
    let mut names = Vec::new();
    let mut rest = block;
    // Index blocks look like blocks of one empty entry.
    while rest.len() >= 8 {
        let (number, length) = (u32_at(rest, 0)?, usize::from(u16_at(rest, 4)?));
        let name = rest.get(8..)?.get(..usize::from(*rest.get(6)?))?;
        if number != 0 && name != b"." && name != b".." {
            names.push((name, number));
        }
        rest = rest.get(length.max(8)..)?;
    }
    Some(names)
}

/// Reads a little-endian number.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*field))
}

/// Reads a little-endian number.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}
