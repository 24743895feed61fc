//! The files of an image: their blocks and their paths.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::extents::{Blocks, EXTENT_MAGIC, LONGEST_EXTENT, MOST_EXTENTS};
use super::volume::{block, damaged, u16_at, u32_at, Volume, BLOCK, INODES_UNUSED};
use crate::make::MakeError;

const ROOT_INODE: u32 = 2;
/// Inodes below it are the file system's own.
const FIRST_INODE: u32 = 11;
/// `i_flags`
const EXTENTS: u32 = 0x8_0000;
const INLINE_DATA: u32 = 0x1000_0000;

/// A file or folder whose blocks are listed in its inode alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub blocks: Blocks,
}

impl<'a> Volume<'a> {
    pub(super) fn inode_at(&self, number: u32) -> Option<usize> {
        let index = number.checked_sub(1)?;
        let table = self.inode_table(index.checked_div(self.inodes_per_group)?.into())?;
        let within = u64::from(index.checked_rem(self.inodes_per_group)?);
        let within = within.checked_mul(self.inode_size as u64)?;
        let offset = table.checked_mul(BLOCK as u64)?.checked_add(within)?;
        usize::try_from(offset).ok()
    }

    fn inode(&self, number: u32) -> Option<&'a [u8]> {
        self.image.get(self.inode_at(number)?..)?.get(..128)
    }

    /// Returns the files and folders whose blocks can be moved, by inode: each of these blocks is in
    /// use, and theirs alone.
    pub fn files(&self) -> Result<BTreeMap<u32, File>, MakeError> {
        let read = || {
            let mut files = BTreeMap::new();
            for group in 0..self.groups {
                if self.flags(group)? & INODES_UNUSED != 0 {
                    continue;
                }
                let first = u32::try_from(group)
                    .ok()?
                    .checked_mul(self.inodes_per_group)?;
                // Others may hold what an earlier file system left there.
                let allocated = block(self.image, self.inode_bitmap(group)?);
                for index in 0..self.inodes_per_group {
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
        let (mode, links, flags) = (
            u16_at(inode, 0)?,
            u16_at(inode, 0x1A)?,
            u32_at(inode, 0x20)?,
        );
        let list = inode.get(0x28..0x64)?;
        let is_whole = flags & EXTENTS != 0
            && flags & INLINE_DATA == 0
            && u16_at(list, 0)? == EXTENT_MAGIC
            && u16_at(list, 6)? == 0;
        if mode == 0 || links == 0 || !is_whole {
            return Some(None);
        }
        let count = usize::from(u16_at(list, 2)?).min(MOST_EXTENTS);
        let mut blocks = Blocks::new();
        for entry in list.get(12..)?.chunks_exact(12).take(count) {
            let (at, length) = (u32_at(entry, 0)?, u16_at(entry, 4)?);
            if usize::from(length) > LONGEST_EXTENT {
                return Some(None);
            }
            let place = u64::from(u16_at(entry, 6)?) << 32 | u64::from(u32_at(entry, 8)?);
            for index in 0..u32::from(length) {
                let place = place
                    .checked_add(index.into())
                    .filter(|place| *place < self.blocks)?;
                blocks.push((at.checked_add(index)?, place));
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
                        if u16_at(self.inode(number)?, 0)? >> 12 == 0x4 {
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
            let mut rest = block(self.image, number);
            // Index blocks look like blocks of one empty entry.
            while rest.len() >= 8 {
                let (number, length) = (u32_at(rest, 0)?, usize::from(u16_at(rest, 4)?));
                let name = rest.get(8..)?.get(..usize::from(*rest.get(6)?))?;
                if number != 0 && name != b"." && name != b".." {
                    entries.insert((name.to_vec(), number));
                }
                rest = rest.get(length.max(8)..)?;
            }
        }
        Some(entries)
    }
}
