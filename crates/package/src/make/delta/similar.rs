//! Finds similar parts of two texts: bsdiff's way (Percival: Naive Differences of Executable Code,
//! 2003). A part is found by exact matches and grown while at least half of its bytes are equal.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "every index is below the length of its text, and the maker alone runs it"
)]

use super::suffixes::suffixes;

/// By how many bytes an exact match must be better than going on with the part before.
const BETTER: usize = 8;

/// A part of the new text that is similar to one of the old: their places, and the length.
pub(super) type Similar = (usize, usize, usize);

/// Returns the parts of `new` that are similar to parts of `old`, in the order of `new`.
pub(super) fn similar(old: &[u8], new: &[u8]) -> Vec<Similar> {
    let sorted = suffixes(old);
    let mut found = Vec::new();
    // The part that grows: where it starts in both.
    let (mut last_new, mut last_old) = (0_usize, 0_usize);
    let (mut scan, mut len, mut at) = (0_usize, 0_usize, 0_usize);
    while scan < new.len() {
        scan += len;
        // Of the match, bytes that going on with the part before would get right, too.
        let mut score = 0_usize;
        let mut scored = scan;
        let goes_on = |place: usize| {
            let old_place = (place + last_old).checked_sub(last_new);
            old_place.and_then(|place| old.get(place)) == Some(&new[place])
        };
        len = 0;
        while scan < new.len() {
            (at, len) = longest(old, &sorted, &new[scan..]);
            while scored < scan + len {
                score += usize::from(goes_on(scored));
                scored += 1;
            }
            if (len == score && len != 0) || len > score + BETTER {
                break;
            }
            score -= usize::from(scored > scan && goes_on(scan));
            scan += 1;
            scored = scored.max(scan);
        }
        if len == score && scan < new.len() {
            continue;
        }
        let mut forward = grow(old[last_old..].iter().zip(&new[last_new..scan]));
        let mut backward = match scan < new.len() {
            true => grow(old[..at].iter().rev().zip(new[last_new..scan].iter().rev())),
            false => 0,
        };
        let overlap = (last_new + forward).saturating_sub(scan - backward);
        if overlap > 0 {
            let kept = split(
                &new[scan - backward..][..overlap],
                &old[last_old + forward - overlap..],
                &old[at - backward..],
            );
            forward -= overlap - kept;
            backward -= kept;
        }
        if forward > 0 {
            found.push((last_new, last_old, forward));
        }
        last_new = scan - backward;
        last_old = at - backward;
    }
    found
}

/// Returns how many pairs to take from the start so that most equal ones, and few others, are in.
fn grow<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    let (mut score, mut best, mut taken) = (0_i64, 0_i64, 0);
    for (index, (old, new)) in pairs.enumerate() {
        score += if old == new { 1 } else { -1 };
        if score > best {
            (best, taken) = (score, index + 1);
        }
    }
    taken
}

/// Returns how many bytes of `new` are better made of `first` than of `second`, from its start.
fn split(new: &[u8], first: &[u8], second: &[u8]) -> usize {
    let (mut score, mut best, mut taken) = (0_i64, 0_i64, 0);
    for (index, byte) in new.iter().enumerate() {
        score += i64::from(*byte == first[index]) - i64::from(*byte == second[index]);
        if score > best {
            (best, taken) = (score, index + 1);
        }
    }
    taken
}

/// Returns place and length of the longest match of the start of `new` in `old`.
fn longest(old: &[u8], sorted: &[u32], new: &[u8]) -> (usize, usize) {
    let suffix = |index: usize| &old[sorted[index] as usize..];
    let above = sorted.partition_point(|start| &old[*start as usize..] < new);
    let common = |index: usize| {
        let pairs = suffix(index).iter().zip(new);
        let len = pairs.take_while(|(old, new)| old == new).count();
        (sorted[index] as usize, len)
    };
    let candidates = [above.checked_sub(1), Some(above)];
    let found = candidates
        .into_iter()
        .flatten()
        .filter(|index| *index < sorted.len());
    found
        .map(common)
        .max_by_key(|(_, len)| *len)
        .unwrap_or((0, 0))
}
