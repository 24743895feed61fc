//! Chooses the states to check.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use crate::recordings::Recordings;

/// States of a whole run; smaller runs take a part of them.
pub const WHOLE: u64 = 20_000;

/// Chooses `count` states for the cheap check: the edges of all steps, then a seeded choice among
/// those of a whole run. From a whole run on, all numbers up to `count`.
pub fn cheap_numbers(recordings: &Recordings, count: u64, seed: u64) -> Vec<u64> {
    let whole = WHOLE.max(recordings.writes());
    if count >= whole {
        return (0..count).collect();
    }
    let mut chosen: BTreeSet<u64> = recordings
        .edges()
        .into_iter()
        .map(|(number, ..)| number)
        .collect();
    let mut rng = Rng::with_seed(seed);
    while (chosen.len() as u64) < count {
        chosen.insert(rng.u64(..whole));
    }
    chosen.into_iter().collect()
}

/// Chooses `count` states for the full check: around the edges of steps first, each step once
/// before any twice, then a seeded choice.
pub fn full_numbers(recordings: &Recordings, count: u64, seed: u64) -> Vec<u64> {
    let mut rng = Rng::with_seed(seed);
    let mut steps: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (number, recording, step) in recordings.edges() {
        steps.entry((recording, step)).or_default().push(number);
    }
    let mut steps: Vec<Vec<u64>> = steps.into_values().collect();
    rng.shuffle(&mut steps);
    let mut numbers = Vec::new();
    while steps.iter().any(|step| !step.is_empty()) {
        numbers.extend(steps.iter_mut().filter_map(Vec::pop));
    }
    let whole = WHOLE.max(recordings.writes());
    while (numbers.len() as u64) < count {
        let number = rng.u64(..whole);
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    numbers.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    numbers
}
