//! Where the files of an ext4 image lie. Source of the layout: `Documentation/filesystems/ext4` of
//! Linux; tests compare it with debugfs.

use std::collections::{BTreeMap, BTreeSet};

use super::images::{Image, Images};

/// Bytes of a file system's block: the only size that is looked into.
const BLOCK: u64 = 4096;
const ROOT_INODE: u32 = 2;
/// `i_flags`: the file's blocks are listed as extents.
const EXTENTS: u32 = 0x8_0000;
/// `i_flags`: the file lies in its inode.
const INLINE_DATA: u32 = 0x1000_0000;
/// `s_feature_incompat`: descriptors have a high half; descriptors are spread over the image.
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_META_BG: u32 = 0x10;
const EXTENT_MAGIC: u16 = 0xF30A;
/// Deepest tree of extents that ext4 makes.
const MAX_DEPTH: u16 = 5;

/// Adjacent bytes: offset counted over all images of the package, and length.
pub(super) type Range = (u64, u64);

/// The regular files of an image by path, each with its bytes' places in the file's order. Whole
/// blocks; holes are left out.
pub(super) type Files = BTreeMap<Vec<u8>, Vec<Range>>;

/// Finds the files of an image; `None` where it is no ext4 image of a known layout, which costs
/// only bytes.
pub(super) fn files(images: &Images, image: &Image) -> Option<Files> {
    let volume = Volume::open(images, image)?;
    let mut found = Files::new();
    let mut seen = BTreeSet::from([ROOT_INODE]);
    let mut folders = vec![(Vec::new(), ROOT_INODE)];
    while let Some((path, number)) = folders.pop() {
        for (name, number) in volume.folder(number)? {
            let inode = volume.inode(number)?;
            let mut path = path.clone();
            path.extend_from_slice(b"/");
            path.extend_from_slice(&name);
            match inode.mode >> 12 {
                // A second name of the same file adds nothing.
                0x8 if seen.insert(number) => {
                    found.insert(path, volume.ranges(&inode)?);
                }
                0x4 if seen.insert(number) => folders.push((path, number)),
                _ => {}
            }
        }
    }
    Some(found)
}

struct Volume<'a> {
    images: &'a Images,
    image: &'a Image,
    inodes: u32,
    inodes_per_group: u32,
    inode_size: u64,
    /// First block of each group's inode table.
    tables: Vec<u64>,
}

struct Inode {
    mode: u16,
    flags: u32,
    /// `i_block`.
    block: Vec<u8>,
}

impl<'a> Volume<'a> {
    fn open(images: &'a Images, image: &'a Image) -> Option<Self> {
        let super_block = images.bytes(image.start.checked_add(1024)?, 1024).ok()?;
        let incompat = u32_at(&super_block, 0x60)?;
        if u16_at(&super_block, 0x38)? != 0xEF53
            || u32_at(&super_block, 0x18)? != 2
            || incompat & INCOMPAT_META_BG != 0
        {
            return None;
        }
        let blocks = u64::from(u32_at(&super_block, 0x4)?);
        let per_group = u64::from(u32_at(&super_block, 0x20)?);
        let wide = incompat & INCOMPAT_64BIT != 0;
        let descriptor = match wide {
            true => u64::from(u16_at(&super_block, 0xFE)?),
            false => 32,
        };
        if blocks.checked_mul(BLOCK)? > image.size || !(32..=1024).contains(&descriptor) {
            return None;
        }
        let groups = blocks
            .checked_next_multiple_of(per_group)?
            .checked_div(per_group)?;
        let size = usize::try_from(groups.checked_mul(descriptor)?).ok()?;
        let table = images.bytes(image.start.checked_add(BLOCK)?, size).ok()?;
        let table_of = |group: &[u8]| {
            let high = match wide {
                true => u64::from(u32_at(group, 0x28)?),
                false => 0,
            };
            Some(high << 32 | u64::from(u32_at(group, 0x8)?))
        };
        Some(Self {
            images,
            image,
            inodes: u32_at(&super_block, 0x0)?,
            inodes_per_group: u32_at(&super_block, 0x28)?,
            inode_size: u64::from(u16_at(&super_block, 0x58)?),
            tables: table
                .chunks_exact(descriptor as usize)
                .map(table_of)
                .collect::<Option<_>>()?,
        })
    }

    fn inode(&self, number: u32) -> Option<Inode> {
        let index = number.checked_sub(1).filter(|_| number <= self.inodes)?;
        let group = index.checked_div(self.inodes_per_group)?;
        let within = u64::from(index.checked_rem(self.inodes_per_group)?);
        let table = self.tables.get(group as usize)?.checked_mul(BLOCK)?;
        let offset = table.checked_add(within.checked_mul(self.inode_size)?)?;
        let bytes = self.read(offset, 128)?;
        Some(Inode {
            mode: u16_at(&bytes, 0)?,
            flags: u32_at(&bytes, 0x20)?,
            block: bytes.get(0x28..0x64)?.to_vec(),
        })
    }

    /// Returns the entries of a folder, without those of itself and its parent.
    fn folder(&self, number: u32) -> Option<Vec<(Vec<u8>, u32)>> {
        let mut entries = Vec::new();
        for (start, len) in self.ranges(&self.inode(number)?)? {
            let bytes = self.images.bytes(start, usize::try_from(len).ok()?).ok()?;
            for mut block in bytes.chunks(BLOCK as usize) {
                // Index blocks look like blocks of one empty entry.
                while block.len() >= 8 {
                    let (number, len) = (u32_at(block, 0)?, usize::from(u16_at(block, 4)?));
                    let name = block.get(8..)?.get(..usize::from(*block.get(6)?))?;
                    if number != 0 && name != b"." && name != b".." {
                        entries.push((name.to_vec(), number));
                    }
                    block = block.get(len.max(8)..)?;
                }
            }
        }
        Some(entries)
    }

    /// Returns the places of a file's blocks.
    fn ranges(&self, inode: &Inode) -> Option<Vec<Range>> {
        if inode.flags & INLINE_DATA != 0 {
            return Some(Vec::new());
        }
        if inode.flags & EXTENTS == 0 {
            // Of another layout: as if it were metadata. Only an empty one is common.
            return Some(Vec::new());
        }
        let mut found = Vec::new();
        self.extents(&inode.block, MAX_DEPTH, &mut found)?;
        Some(found)
    }

    fn extents(&self, node: &[u8], deepest: u16, found: &mut Vec<Range>) -> Option<()> {
        let (entries, depth) = (u16_at(node, 2)?, u16_at(node, 6)?);
        if u16_at(node, 0)? != EXTENT_MAGIC || depth > deepest {
            return None;
        }
        let entries = node.get(12..)?.chunks_exact(12).take(entries.into());
        for entry in entries {
            if depth == 0 {
                let len = u64::from(u16_at(entry, 4)?);
                // Longer ones are not written yet and read as zeros.
                if len <= 0x8000 {
                    let block = u64::from(u16_at(entry, 6)?) << 32 | u64::from(u32_at(entry, 8)?);
                    let (start, len) = (block.checked_mul(BLOCK)?, len.checked_mul(BLOCK)?);
                    start
                        .checked_add(len)
                        .filter(|end| *end <= self.image.size)?;
                    found.push((self.image.start.checked_add(start)?, len));
                }
            } else {
                let block = u64::from(u16_at(entry, 8)?) << 32 | u64::from(u32_at(entry, 4)?);
                let node = self.read(block.checked_mul(BLOCK)?, BLOCK as usize)?;
                self.extents(&node, depth.checked_sub(1)?, found)?;
            }
        }
        Some(())
    }

    fn read(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        offset
            .checked_add(len as u64)
            .filter(|end| *end <= self.image.size)?;
        self.images
            .bytes(self.image.start.checked_add(offset)?, len)
            .ok()
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*field))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}

#[cfg(test)]
mod tests;
