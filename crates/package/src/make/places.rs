//! Lays out a root filesystem like an earlier one: files that are in both lie where they lay.
//!
//! What mke2fs writes moves along when a file before it grows, so most blocks of a terminal would be
//! written to install a few changed files. Only the blocks of files and folders move here; inodes,
//! names and contents stay.
//!
//! - `volume`: super block, groups, and the blocks in use; `files`: files and their paths; `extents`
//! - `plan`: where each file goes
//! - `write`: the image with its files moved
//! - here: the steps

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::delta::rootfs_of;
use super::ext4::BLOCK;
use super::output::{parent, write_whole};
use super::{MakeError, Progress};
use crate::ext4::SuperBlock;

mod extents;
mod files;
mod plan;
mod volume;
mod write;

use files::File;
use plan::{Moved, Plan};
use volume::Volume;

/// How an image lies compared with an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Blocks of the image.
    pub blocks: usize,
    /// Blocks that differed from the earlier image before.
    pub before: usize,
    /// Blocks that differ from it now.
    pub after: usize,
}

/// Writes the ext4 image `image` to `output` with its files where they lie in the root filesystem of
/// the package `base`, as far as they can. Needs memory for three images.
///
/// # Errors
/// [`MakeError::Input`] where terminals could not install an image, as far as its super block shows,
/// or `base` holds no root filesystem; [`MakeError::Places`] where this cannot lay it out.
pub fn keep_places(
    base: &Path,
    image: &Path,
    output: &Path,
    progress: Progress<'_>,
) -> Result<Places, MakeError> {
    let old = rootfs_of(base, parent(output), progress)?;
    let new = fs::read(image).map_err(MakeError::io(image))?;
    check_form(&new, image)?;
    check_form(&old, base)?;
    let moved = lay_out(&new, &old)?;
    let differing = |image: &[u8]| {
        let blocks = image.chunks(BLOCK);
        let mut theirs = old.chunks(BLOCK);
        blocks.filter(|block| theirs.next() != Some(*block)).count()
    };
    let places = Places {
        blocks: new.len().div_ceil(BLOCK),
        before: differing(&new),
        after: differing(&moved),
    };
    let better = if places.after < places.before {
        &moved
    } else {
        &new
    };
    write_whole(output, better)?;
    Ok(Places {
        after: places.after.min(places.before),
        ..places
    })
}

/// Refuses a file system that has to be repaired, or has features that nobody here knows: what they
/// hold could be lost.
fn check_form(image: &[u8], path: &Path) -> Result<(), MakeError> {
    SuperBlock::parse(image)
        .and_then(|found| found.check(image.len() as u64))
        .map_err(|error| MakeError::input(path, error.to_string()))
}

/// Returns `new` with its files where they lie in `old`.
fn lay_out(new: &[u8], old: &[u8]) -> Result<Vec<u8>, MakeError> {
    let volume = Volume::open(new)?;
    let theirs = Volume::open(old)?;
    let files = volume.files()?;
    let theirs: BTreeMap<Vec<u8>, File> = theirs.by_path()?;
    let paths = volume.paths()?;
    let plan = Plan::new(&volume, new, &files)?;
    let moved = plan.assign(&files, &paths, &theirs, old)?;
    let image = volume.moved(&files, &moved)?;
    check(&image, &files, &moved, &volume)?;
    Ok(image)
}

/// Reads the image back: each file must hold what it held, and so must all other blocks in use.
fn check(
    image: &[u8],
    files: &BTreeMap<u32, File>,
    moved: &Moved,
    volume: &Volume<'_>,
) -> Result<(), MakeError> {
    let new = volume.image;
    let now = Volume::open(image)?.files()?;
    let is_same = |(number, file): (&u32, &File)| {
        let Some(found) = now.get(number) else {
            return false;
        };
        let places = moved.of(*number).unwrap_or(&file.blocks);
        found.blocks == *places
            && file
                .blocks
                .iter()
                .zip(places)
                .all(|((was_at, was), (at, is))| {
                    was_at == at && volume::block(new, *was) == volume::block(image, *is)
                })
    };
    let mut kept = volume.used()?;
    let has_moved = |(number, _): &(&u32, &File)| moved.of(**number).is_some();
    let left = files.iter().filter(has_moved);
    for (_, place) in left.flat_map(|(_, file)| &file.blocks) {
        if let Some(kept) = kept.get_mut(*place as usize) {
            *kept = false;
        }
    }
    let is_kept = kept
        .iter()
        .zip(volume.own()?)
        .zip(0..)
        .all(|((kept, own), place)| {
            !kept || own || volume::block(new, place) == volume::block(image, place)
        });
    match is_kept && now.len() == files.len() && files.iter().all(is_same) {
        true => Ok(()),
        false => Err(MakeError::Places(
            "files were lost while they were moved".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
