//! The files of an image: their blocks and their paths.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::extents::Blocks;
use super::volume::{block, damaged, Volume, INODES_UNUSED};
use crate::make::ext4::{names, Inode, BLOCK, LONGEST_EXTENT, ROOT_INODE};
use crate::make::MakeError;

/// Inodes below it are the file system's own.
const FIRST_INODE: u32 = 11;

/// A file or folder whose blocks are listed in its inode alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub blocks: Blocks,
}

impl<'a> Volume<'a> {
    /// Returns the offset of an inode in the image.
    pub(super) fn inode_at(&self, number: u32) -> Option<usize> {
        let (group, within) = self.layout.inode(number)?;
        let table = self.inode_table(group)?.checked_mul(BLOCK as u64)?;
        usize::try_from(table.checked_add(within)?).ok()
    }

    fn inode(&self, number: u32) -> Option<Inode<'a>> {
        Inode::of(self.image.get(self.inode_at(number)?..)?)
    }

    /// Returns the files and folders whose blocks can be moved, by inode: each of these blocks is in
    /// use, and theirs alone.
    pub fn files(&self) -> Result<BTreeMap<u32, File>, MakeError> {
        let read = || {
            let mut files = BTreeMap::new();
            for group in 0..self.layout.groups {
                if self.flags(group)? & INODES_UNUSED != 0 {
                    continue;
                }
                let first = u32::try_from(group)
                    .ok()?
                    .checked_mul(self.layout.inodes_per_group)?;
                // Others may hold what an earlier file system left there.
                let allocated = block(self.image, self.inode_bitmap(group)?);
                for index in 0..self.layout.inodes_per_group {
                    let number = first.checked_add(index)?.checked_add(1)?;
                    let byte = allocated.get(usize::try_from(index / 8).ok()?)?;
                    let is_allocated = byte >> (index % 8) & 1 == 1;
                    if is_allocated && (number == ROOT_INODE || number >= FIRST_INODE) {
                        files.extend(self.file(number)?.map(|file| (number, file)));
                    }
                }
            }
            self.leave_out_shared(&mut files)?;
            Some(files)
        };
        read().ok_or_else(damaged)
    }

    /// Leaves out files with blocks that are free, the file system's own, or of another one as well.
    fn leave_out_shared(&self, files: &mut BTreeMap<u32, File>) -> Option<()> {
        let (used, own) = (self.used().ok()?, self.own().ok()?);
        let mut claims: Vec<u8> = vec![0; used.len()];
        for (_, place) in files.values().flat_map(|file| &file.blocks) {
            let claims = claims.get_mut(usize::try_from(*place).ok()?)?;
            *claims = claims.saturating_add(1);
        }
        files.retain(|_, file| {
            file.blocks.iter().all(|(_, place)| {
                let place = *place as usize;
                used.get(place) == Some(&true)
                    && own.get(place) == Some(&false)
                    && claims.get(place) == Some(&1)
            })
        });
        Some(())
    }

    /// Returns a file whose blocks are listed in its inode alone; `Some(None)` for others.
    fn file(&self, number: u32) -> Option<Option<File>> {
        let inode = self.inode(number)?;
        let node = inode.extents()?.filter(|node| node.depth == 0);
        let (Some(node), true) = (node, inode.is_linked()?) else {
            return Some(None);
        };
        let mut blocks = Blocks::new();
        for extent in node.extents() {
            let extent = extent?;
            if extent.length > LONGEST_EXTENT {
                return Some(None);
            }
            for index in 0..u32::from(extent.length) {
                let place = extent
                    .place
                    .checked_add(index.into())
                    .filter(|place| *place < self.layout.blocks)?;
                blocks.push((extent.number.checked_add(index)?, place));
            }
        }
        let is_ordered = blocks.windows(2).all(|pair| match pair {
            [(before, _), (after, _)] => before < after,
            _ => true,
        });
        Some(is_ordered.then_some(File { blocks }))
    }

    /// Returns the path of each inode, the first one found where there are several.
    pub fn paths(&self) -> Result<BTreeMap<u32, Vec<u8>>, MakeError> {
        let read = || {
            let mut paths = BTreeMap::from([(ROOT_INODE, Vec::new())]);
            let mut folders = vec![ROOT_INODE];
            while let Some(folder) = folders.pop() {
                let path = paths.get(&folder)?.clone();
                for (name, number) in self.entries(folder)? {
                    let path = [path.as_slice(), b"/", &name].concat();
                    if let Entry::Vacant(entry) = paths.entry(number) {
                        entry.insert(path);
                        if self.inode(number)?.is_folder()? {
                            folders.push(number);
                        }
                    }
                }
            }
            Some(paths)
        };
        read().ok_or_else(damaged)
    }

    /// Returns the files and folders whose blocks are known, by path.
    pub fn by_path(&self) -> Result<BTreeMap<Vec<u8>, File>, MakeError> {
        let mut files = self.files()?;
        let paths = self.paths()?.into_iter();
        Ok(paths
            .filter_map(|(number, path)| Some((path, files.remove(&number)?)))
            .collect())
    }

    /// Returns the entries of a folder, without those of itself and its parent.
    fn entries(&self, folder: u32) -> Option<BTreeSet<(Vec<u8>, u32)>> {
        let mut entries = BTreeSet::new();
        let Some(file) = self.file(folder)? else {
            return Some(entries);
        };
        for (_, number) in file.blocks {
            let named = names(block(self.image, number))?.into_iter();
            entries.extend(named.map(|(name, number)| (name.to_vec(), number)));
        }
        Some(entries)
    }
}
