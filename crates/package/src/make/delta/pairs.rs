//! Which parts of base and target are compared byte by byte: the old and the new version of a file,
//! and the metadata of both file systems.

use std::collections::{BTreeMap, HashMap};

use super::ext4::{files, Files, Range};
use super::images::{Image, Images};
use super::matches::{Known, BLOCK};

/// Most bytes of either side of a comparison, which takes some 20 times as much memory.
const MOST: u64 = 8 << 20;

/// Two texts to compare, each gathered from ranges of its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub old: Vec<Range>,
    pub new: Vec<Range>,
}

/// Returns what is to be compared of an image; blocks that the base has somewhere need it not.
pub(super) fn pairs(base: &Images, target: &Images, image: &Image, known: &Known) -> Vec<Pair> {
    let Some(before) = base.of(image.payload_type) else {
        return Vec::new();
    };
    let (Some(old), Some(new)) = (files(base, before), files(target, image)) else {
        // Something else than ext4: the same places.
        let whole = |image: &Image| vec![(image.start, image.size)];
        return windows(&whole(before), &whole(image));
    };
    let mut found = Vec::new();
    let index = Names::new(&old);
    for (path, ranges) in &new {
        if !ranges.iter().any(|range| known.lacks(*range)) {
            continue;
        }
        if let Some(old) = index.partner(path, size(ranges)) {
            found.extend(windows(old, ranges));
        }
    }
    found.extend(windows(
        &metadata(base, before, &old),
        &metadata(target, image, &new),
    ));
    found.retain(|pair| pair.new.iter().any(|range| known.lacks(*range)));
    found
}

/// Returns the bytes in ranges.
pub(super) fn size(ranges: &[Range]) -> u64 {
    ranges
        .iter()
        .fold(0, |sum, (_, len)| sum.saturating_add(*len))
}

/// The files of the base by their paths with and without numbers.
struct Names<'a> {
    exact: &'a Files,
    alike: HashMap<Vec<u8>, Vec<&'a Vec<Range>>>,
}

impl<'a> Names<'a> {
    fn new(files: &'a Files) -> Self {
        let mut alike: HashMap<_, Vec<_>> = HashMap::new();
        for (path, ranges) in files {
            for key in keys(path) {
                alike.entry(key).or_default().push(ranges);
            }
        }
        Self {
            exact: files,
            alike,
        }
    }

    /// Returns the likeliest earlier version of a file of `size` bytes: of the same path, or else the
    /// one nearest in size among those whose paths, or else names, differ in numbers alone.
    fn partner(&self, path: &[u8], size: u64) -> Option<&'a [Range]> {
        if let Some(same) = self.exact.get(path) {
            return Some(same);
        }
        let found = keys(path)
            .into_iter()
            .find_map(|key| self.alike.get(&key))?;
        let distance = |ranges: &&&Vec<Range>| self::size(ranges).abs_diff(size);
        found
            .iter()
            .min_by_key(distance)
            .map(|ranges| ranges.as_slice())
    }
}

/// Returns path and name with `#` in place of each number.
fn keys(path: &[u8]) -> [Vec<u8>; 2] {
    let mut key: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        match byte.is_ascii_digit() {
            true if key.last() == Some(&b'#') => {}
            true => key.push(b'#'),
            false => key.push(*byte),
        }
    }
    let name = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = name.to_vec();
    [key, name]
}

/// Returns the blocks that no file has and that are not zeros: the file system's own.
fn metadata(images: &Images, image: &Image, files: &Files) -> Vec<Range> {
    let used: BTreeMap<u64, u64> = files.values().flatten().copied().collect();
    let mut found: Vec<Range> = Vec::new();
    let mut block = vec![0; BLOCK];
    let mut add_between = |from: u64, to: u64| {
        for at in (from..to).step_by(BLOCK) {
            // What cannot be read here fails elsewhere.
            let read = images.read(at, &mut block);
            if read.is_err() || block.iter().all(|byte| *byte == 0) {
                continue;
            }
            match found.last_mut() {
                Some((start, len)) if start.saturating_add(*len) == at => {
                    *len = len.saturating_add(BLOCK as u64);
                }
                _ => found.push((at, BLOCK as u64)),
            }
        }
    };
    let mut at = image.start;
    for (start, len) in used {
        add_between(at, start);
        at = at.max(start.saturating_add(len));
    }
    add_between(at, image.start.saturating_add(image.size));
    found
}

/// Cuts two texts into parts that fit in memory: each of the new one with what lies around the same
/// place in the old one.
fn windows(old: &[Range], new: &[Range]) -> Vec<Pair> {
    let (old_size, new_size) = (size(old), size(new));
    if old_size.max(new_size) <= MOST {
        return vec![Pair {
            old: old.to_vec(),
            new: new.to_vec(),
        }];
    }
    const STEP: u64 = MOST / 2;
    let mut found = Vec::new();
    for start in (0..new_size).step_by(STEP as usize) {
        let from = start
            .saturating_sub(STEP / 2)
            .min(old_size.saturating_sub(MOST));
        found.push(Pair {
            old: part(old, from, MOST),
            new: part(new, start, STEP),
        });
    }
    found
}

/// Returns `len` bytes of a text from its byte `from` on, as far as it goes.
fn part(ranges: &[Range], from: u64, len: u64) -> Vec<Range> {
    let end = from.saturating_add(len);
    let mut at = 0_u64;
    let mut found = Vec::new();
    for (start, len) in ranges {
        let (first, last) = (at.max(from), at.saturating_add(*len).min(end));
        if first < last {
            let skipped = first.saturating_sub(at);
            found.push((start.saturating_add(skipped), last.saturating_sub(first)));
        }
        at = at.saturating_add(*len);
    }
    found
}
