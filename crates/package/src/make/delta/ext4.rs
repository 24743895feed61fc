//! Where the files of an ext4 image lie; tests compare it with debugfs.

use std::collections::{BTreeMap, BTreeSet};

use super::images::{Image, Images};
use crate::make::ext4::{
    names, Inode, Layout, Node, BLOCK, INODE, LONGEST_EXTENT, ROOT_INODE, SUPER,
};

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
            let bytes = volume.inode(number)?;
            let inode = Inode::of(&bytes)?;
            let path = [path.as_slice(), b"/", &name].concat();
            // A second name of the same file adds nothing.
            if inode.is_file()? && seen.insert(number) {
                found.insert(path, volume.ranges(inode)?);
            } else if inode.is_folder()? && seen.insert(number) {
                folders.push((path, number));
            }
        }
    }
    Some(found)
}

struct Volume<'a> {
    images: &'a Images,
    image: &'a Image,
    layout: Layout,
    /// First block of each group's inode table.
    tables: Vec<u64>,
}

impl<'a> Volume<'a> {
    fn open(images: &'a Images, image: &'a Image) -> Option<Self> {
        let start = image.start.checked_add(SUPER as u64)?;
        let layout = Layout::parse(&images.bytes(start, SUPER).ok()?, image.size).ok()?;
        let size = layout.groups.checked_mul(layout.descriptor as u64)?;
        let start = image.start.checked_add(BLOCK as u64)?;
        let table = images.bytes(start, usize::try_from(size).ok()?).ok()?;
        let groups = table.chunks_exact(layout.descriptor);
        let tables = groups.map(|group| layout.inode_table(group));
        let tables = tables.collect::<Option<_>>()?;
        Some(Self {
            images,
            image,
            layout,
            tables,
        })
    }

    fn inode(&self, number: u32) -> Option<Vec<u8>> {
        let (group, within) = self.layout.inode(number)?;
        let table = self.tables.get(usize::try_from(group).ok()?)?;
        let table = table.checked_mul(BLOCK as u64)?;
        self.read(table.checked_add(within)?, INODE)
    }

    /// Returns the entries of a folder, without those of itself and its parent.
    fn folder(&self, number: u32) -> Option<Vec<(Vec<u8>, u32)>> {
        let mut entries = Vec::new();
        for (start, len) in self.ranges(Inode::of(&self.inode(number)?)?)? {
            let bytes = self.images.bytes(start, usize::try_from(len).ok()?).ok()?;
            for block in bytes.chunks(BLOCK) {
                let named = names(block)?.into_iter();
                entries.extend(named.map(|(name, number)| (name.to_vec(), number)));
            }
        }
        Some(entries)
    }

    /// Returns the places of a file's blocks; none for one of another layout, as if it were metadata.
    /// Only an empty one is common.
    fn ranges(&self, inode: Inode<'_>) -> Option<Vec<Range>> {
        let mut found = Vec::new();
        if let Some(node) = inode.extents()? {
            self.extents(node, MAX_DEPTH, &mut found)?;
        }
        Some(found)
    }

    fn extents(&self, node: Node<'_>, deepest: u16, found: &mut Vec<Range>) -> Option<()> {
        if node.depth > deepest {
            return None;
        }
        if node.depth > 0 {
            for block in node.children() {
                let block = self.read(block?.checked_mul(BLOCK as u64)?, BLOCK)?;
                self.extents(Node::of(&block)?, deepest.checked_sub(1)?, found)?;
            }
            return Some(());
        }
        for extent in node.extents() {
            let extent = extent?;
            if extent.length <= LONGEST_EXTENT {
                let start = extent.place.checked_mul(BLOCK as u64)?;
                let len = u64::from(extent.length).checked_mul(BLOCK as u64)?;
                start
                    .checked_add(len)
                    .filter(|end| *end <= self.image.size)?;
                found.push((self.image.start.checked_add(start)?, len));
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

#[cfg(test)]
mod tests;
