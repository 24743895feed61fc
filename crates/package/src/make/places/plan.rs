//! Decides where each file goes.

use std::collections::BTreeMap;

use super::extents::{extents, Blocks, MOST_EXTENTS};
use super::files::File;
use super::volume::{self, Volume};
use crate::make::ext4::Extent;
use crate::make::MakeError;

/// The new places of files, by inode.
#[derive(Debug, Default)]
pub struct Moved(BTreeMap<u32, Blocks>);

impl Moved {
    /// Returns the new places of a file, if it moves.
    pub fn of(&self, number: u32) -> Option<&Blocks> {
        self.0.get(&number)
    }

    /// Returns all files that move.
    pub fn iter(&self) -> impl Iterator<Item = (&u32, &Blocks)> {
        self.0.iter()
    }
}

/// The blocks that files may be moved to.
pub struct Plan<'a> {
    volume: &'a Volume<'a>,
    image: &'a [u8],
    /// Runs of blocks, first block and length, that are free, or of a file that can be moved and has
    /// no new place yet.
    gaps: BTreeMap<u64, u64>,
}

impl<'a> Plan<'a> {
    /// Starts with no file placed.
    pub fn new(
        volume: &'a Volume<'a>,
        image: &'a [u8],
        files: &BTreeMap<u32, File>,
    ) -> Result<Self, MakeError> {
        let mut free: Vec<bool> = volume.used()?.iter().map(|used| !used).collect();
        for (_, place) in files.values().flat_map(|file| &file.blocks) {
            if let Some(free) = free.get_mut(*place as usize) {
                *free = true;
            }
        }
        Ok(Plan {
            volume,
            image,
            gaps: gaps(&free),
        })
    }

    /// Gives every file a place: first files that are as they were, then changed ones that fit where
    /// they lay, then the others where there is room.
    pub fn assign(
        mut self,
        files: &BTreeMap<u32, File>,
        paths: &BTreeMap<u32, Vec<u8>>,
        old: &BTreeMap<Vec<u8>, File>,
        old_image: &[u8],
    ) -> Result<Moved, MakeError> {
        let mut moved = Moved::default();
        let wishes: Vec<(u32, Blocks)> = files
            .iter()
            .filter_map(|(number, file)| {
                let old = old.get(paths.get(number)?)?;
                Some((*number, wish(file, old)?))
            })
            .collect();
        let is_same = |number: u32, wish: &Blocks| {
            let blocks = files.get(&number).map_or(&[][..], |file| &file.blocks);
            blocks.iter().zip(wish).all(|((_, is), (_, was))| {
                volume::block(self.image, *is) == volume::block(old_image, *was)
            })
        };
        let (same, changed): (Vec<_>, Vec<_>) = wishes
            .into_iter()
            .partition(|(number, wish)| is_same(*number, wish));
        for (number, wish) in same.into_iter().chain(changed) {
            if self.take(&wish) {
                moved.0.insert(number, wish);
            }
        }
        // Large ones first, while there are large gaps.
        let mut rest: Vec<(&u32, &File)> = files
            .iter()
            .filter(|(number, file)| !moved.0.contains_key(number) && !file.blocks.is_empty())
            .collect();
        rest.sort_by_key(|(_, file)| std::cmp::Reverse(file.blocks.len()));
        for (number, file) in rest {
            let place = self.find(file).ok_or_else(|| {
                let path = paths.get(number).map_or(&b"a file"[..], Vec::as_slice);
                MakeError::Places(format!(
                    "the root filesystem of {} blocks is too full: {}, of {} blocks, finds no room in \
                     {MOST_EXTENTS} pieces or fewer: make it larger, or leave the earlier package out",
                    self.volume.layout.blocks,
                    String::from_utf8_lossy(path).escape_debug(),
                    file.blocks.len(),
                ))
            })?;
            moved.0.insert(*number, place);
        }
        Ok(moved)
    }

    /// Takes blocks, which are all different, if they are all free.
    fn take(&mut self, blocks: &Blocks) -> bool {
        let runs = extents(blocks);
        if !runs.iter().all(|run| self.gap_of(run).is_some()) {
            return false;
        }
        for run in &runs {
            if let Some((start, end)) = self.gap_of(run) {
                self.gaps.remove(&start);
                for (start, end) in [(start, run.place), (run.end(), end)] {
                    if start < end {
                        self.gaps.insert(start, end.saturating_sub(start));
                    }
                }
            }
        }
        true
    }

    /// Returns the gap that holds a run of blocks: its first block and its end.
    fn gap_of(&self, run: &Extent) -> Option<(u64, u64)> {
        let (start, length) = self.gaps.range(..=run.place).next_back()?;
        let end = start.saturating_add(*length);
        (run.end() <= end).then_some((*start, end))
    }

    /// Finds a place for a file: where it lies, else the smallest gap that holds it, else the largest
    /// gaps.
    fn find(&mut self, file: &File) -> Option<Blocks> {
        if self.take(&file.blocks) {
            return Some(file.blocks.clone());
        }
        let mut gaps: Vec<(u64, u64)> = self
            .gaps
            .iter()
            .map(|(at, length)| (*at, *length))
            .collect();
        let wanted = file.blocks.len();
        let fitting = gaps.iter().filter(|(_, length)| *length >= wanted as u64);
        let chosen = match fitting.min_by_key(|(_, length)| *length) {
            Some(gap) => vec![*gap],
            None => {
                gaps.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
                gaps.truncate(MOST_EXTENTS);
                gaps
            }
        };
        let places = chosen
            .into_iter()
            .flat_map(|(start, length)| start..start.saturating_add(length));
        let numbers = file.blocks.iter().map(|(number, _)| *number);
        let blocks: Blocks = numbers.zip(places).collect();
        let fits = blocks.len() == wanted && extents(&blocks).len() <= MOST_EXTENTS;
        (fits && self.take(&blocks)).then_some(blocks)
    }
}

/// Returns the runs of free blocks: first block and length.
fn gaps(free: &[bool]) -> BTreeMap<u64, u64> {
    let mut gaps = BTreeMap::new();
    let mut at: u64 = 0;
    for run in free.chunk_by(|one, next| one == next) {
        let length = run.len() as u64;
        if run.first() == Some(&true) {
            gaps.insert(at, length);
        }
        at = at.saturating_add(length);
    }
    gaps
}

/// Returns where a file would lie as it did, if all its blocks had places then.
fn wish(file: &File, old: &File) -> Option<Blocks> {
    let old: BTreeMap<u32, u64> = old.blocks.iter().copied().collect();
    let blocks: Blocks = file
        .blocks
        .iter()
        .map(|(number, _)| Some((*number, *old.get(number)?)))
        .collect::<Option<_>>()?;
    (extents(&blocks).len() <= MOST_EXTENTS && !blocks.is_empty()).then_some(blocks)
}
