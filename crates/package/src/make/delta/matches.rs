//! Which bytes of the base each part of the target is made of: blocks that the base has anywhere, and
//! what is similar in the pairs that are compared byte by byte.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use openssl::sha::sha256;

use super::ext4::Range;
use super::images::{Image, Images};
use super::pairs::{pairs, size, Pair};
use super::similar::similar;
use crate::delta::PIECE;
use crate::make::{MakeError, Progress, Step};

/// Unit of looking for equal content: a block of ext4.
pub(super) const BLOCK: usize = 4096;
const BLOCK_BYTES: u64 = BLOCK as u64;
/// Fewer bytes are not worth an operation.
const SHORTEST: usize = 12;

/// A range of the target that is equal or similar to one of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub target: u64,
    pub base: u64,
    pub len: u64,
}

/// Returns matches in the target's order, none of which overlap.
pub(super) fn find(
    base: &Images,
    target: &Images,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Vec<Match>, MakeError> {
    let known = Known::new(base, target, progress)?;
    let images = target.images.iter();
    let compared: Vec<Pair> = images
        .flat_map(|image| pairs(base, target, image, &known))
        .collect();
    let mut found = compare(base, target, &compared, threads, progress)?;
    found.sort_unstable_by_key(|found| found.target);
    Ok(with_known(found, &known))
}

/// Where each block of the target is in the base.
pub(super) struct Known {
    /// By number of block from the start of the target's range.
    places: Vec<Place>,
}

/// What is known of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Zeros,
    At(u64),
    Unknown,
}

/// Start of SHA-256 of a block.
type Digest = u128;

impl Known {
    fn new(base: &Images, target: &Images, progress: Progress<'_>) -> Result<Self, MakeError> {
        let mut first: HashMap<Digest, u64> = HashMap::new();
        for_blocks(base, progress, |at, block| {
            if let Some(digest) = digest(block) {
                first.entry(digest).or_insert(at);
            }
        })?;
        let mut places: Vec<Place> = Vec::new();
        for_blocks(target, progress, |at, block| {
            places.resize((at / BLOCK_BYTES) as usize, Place::Zeros);
            let place = digest(block).map(|digest| first.get(&digest));
            places.push(match place {
                None => Place::Zeros,
                Some(Some(at)) => Place::At(*at),
                Some(None) => Place::Unknown,
            });
        })?;
        Ok(Self { places })
    }

    /// Tells whether the base lacks a block of a range.
    pub(super) fn lacks(&self, (start, len): Range) -> bool {
        let first = (start / BLOCK_BYTES) as usize;
        let end = start.saturating_add(len).div_ceil(BLOCK_BYTES) as usize;
        let blocks = self.places.get(first..end.min(self.places.len()));
        blocks.unwrap_or_default().contains(&Place::Unknown)
    }
}

/// Returns the digest of a block; `None` for one of zeros.
fn digest(block: &[u8]) -> Option<Digest> {
    block.iter().any(|byte| *byte != 0).then(|| {
        let whole = sha256(block);
        let start = whole.first_chunk::<16>();
        start.map_or(0, |start| u128::from_le_bytes(*start))
    })
}

/// Calls `work` with each block of all images, the last of an image being what is left of it.
fn for_blocks(
    images: &Images,
    progress: Progress<'_>,
    mut work: impl FnMut(u64, &[u8]),
) -> Result<(), MakeError> {
    let mut piece = vec![0; PIECE];
    for Image { start, size, .. } in &images.images {
        let end = start.saturating_add(*size);
        for offset in (*start..end).step_by(PIECE) {
            progress(Step::Compare, offset, images.size);
            let len = end.saturating_sub(offset).min(PIECE as u64) as usize;
            let piece = piece.get_mut(..len).unwrap_or_default();
            images.read(offset, piece)?;
            for (block, at) in piece.chunks(BLOCK).zip((offset..).step_by(BLOCK)) {
                work(at, block);
            }
        }
    }
    Ok(())
}

/// Compares pairs in threads; the result does not depend on their number.
fn compare(
    base: &Images,
    target: &Images,
    pairs: &[Pair],
    threads: usize,
    progress: Progress<'_>,
) -> Result<Vec<Match>, MakeError> {
    let next = &AtomicUsize::new(0);
    let (sender, results) = channel();
    let mut found = Vec::new();
    let mut done = 0_u64;
    let total = pairs
        .iter()
        .fold(0_u64, |sum, pair| sum.saturating_add(size(&pair.new)));
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            let sender = sender.clone();
            scope.spawn(move || loop {
                let Some(pair) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    return;
                };
                let result = compare_one(base, target, pair);
                if sender.send((result, size(&pair.new))).is_err() {
                    return;
                }
            });
        }
        drop(sender);
        for (result, bytes) in results {
            found.extend(result?);
            done = done.saturating_add(bytes);
            progress(Step::Compare, done, total);
        }
        Ok(found)
    })
}

fn compare_one(base: &Images, target: &Images, pair: &Pair) -> Result<Vec<Match>, MakeError> {
    let (old, new) = (gather(base, &pair.old)?, gather(target, &pair.new)?);
    let mut found = Vec::new();
    for (new_at, old_at, len) in similar(&old, &new) {
        let part = |text: &[u8], at: usize| -> Vec<u8> {
            let rest = text.get(at..).unwrap_or_default();
            rest.get(..len).unwrap_or_default().to_vec()
        };
        let (before, after) = (part(&old, old_at), part(&new, new_at));
        let equal = before.iter().zip(&after).filter(|(old, new)| old == new);
        if equal.count() < SHORTEST || after.iter().all(|byte| *byte == 0) {
            continue;
        }
        place(&pair.new, &pair.old, (new_at, old_at, len), &mut found);
    }
    Ok(found)
}

fn gather(images: &Images, ranges: &[Range]) -> Result<Vec<u8>, MakeError> {
    let mut bytes = vec![0; size(ranges) as usize];
    let mut rest = bytes.as_mut_slice();
    for (start, len) in ranges {
        let (part, after) = rest.split_at_mut(*len as usize);
        images.read(*start, part)?;
        rest = after;
    }
    Ok(bytes)
}

/// Translates places in gathered texts to places in the images.
fn place(
    new: &[Range],
    old: &[Range],
    (mut new_at, mut old_at, len): (usize, usize, usize),
    found: &mut Vec<Match>,
) {
    let mut left = len as u64;
    while left > 0 {
        let (Some((target, in_new)), Some((base, in_old))) =
            (resolve(new, new_at as u64), resolve(old, old_at as u64))
        else {
            return;
        };
        let len = in_new.min(in_old).min(left);
        found.push(Match { target, base, len });
        left = left.saturating_sub(len);
        new_at = new_at.saturating_add(len as usize);
        old_at = old_at.saturating_add(len as usize);
    }
}

/// Returns the place of byte `at` of a gathered text, and how many bytes follow it there.
fn resolve(ranges: &[Range], mut at: u64) -> Option<(u64, u64)> {
    for (start, len) in ranges {
        if at < *len {
            return Some((start.saturating_add(at), len.saturating_sub(at)));
        }
        at = at.saturating_sub(*len);
    }
    None
}

/// Adds blocks that the base has, where nothing similar was found in the pairs.
fn with_known(similar: Vec<Match>, known: &Known) -> Vec<Match> {
    let mut found: Vec<Match> = Vec::new();
    let mut similar = similar.into_iter().peekable();
    for (place, at) in known.places.iter().zip((0_u64..).step_by(BLOCK)) {
        let end = at.saturating_add(BLOCK_BYTES);
        let mut touched = found
            .last()
            .is_some_and(|last| last.target.saturating_add(last.len) > at);
        while let Some(next) = similar.next_if(|next| next.target < end) {
            touched = true;
            found.push(next);
        }
        let Place::At(base) = *place else {
            continue;
        };
        if touched {
            continue;
        }
        match found.last_mut() {
            Some(last)
                if last.target.saturating_add(last.len) == at
                    && last.base.saturating_add(last.len) == base =>
            {
                last.len = last.len.saturating_add(BLOCK_BYTES);
            }
            _ => found.push(Match {
                target: at,
                base,
                len: BLOCK_BYTES,
            }),
        }
    }
    found
}
