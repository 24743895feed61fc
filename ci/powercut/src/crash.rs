//! A crash state: which of the writes since the last flush reached the medium.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::image::Reached;
use crate::recorded::Recorded;

/// The way the power was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Right after a write; it and all writes before it reached the medium.
    After,
    /// Some writes since the last flush were lost with the disk's cache.
    Lost,
    /// The disk had written later writes first.
    Reordered,
    /// The disk was in the middle of a write: some of its sectors are old.
    Torn,
    /// The disk was writing a copy of the boot state, which is now neither the old one nor the new
    /// one.
    Spoiled,
}

/// A crash state.
#[derive(Debug, Clone)]
pub struct State {
    pub number: u64,
    /// The recording, as an index into [`crate::recordings::Recordings`].
    pub recording: usize,
    pub kind: Kind,
    /// The last request before the cut, a write.
    pub last: usize,
    /// All requests before this index reached the medium.
    pub settled: usize,
    /// The later requests that reached the medium, whole or in part.
    pub reached: Vec<Reached>,
}

/// Returns a random state of this kind whose last request is `last`.
pub(crate) fn describe(
    recorded: &Recorded,
    number: u64,
    recording: usize,
    last: usize,
    kind: Kind,
    rng: &mut Rng,
) -> State {
    let settled = recorded.settled(last);
    let span: Vec<usize> = (settled..=last)
        .filter(|index| recorded.write(*index).is_some())
        .collect();
    let (kind, reached) = match kind {
        Kind::After => (kind, whole(&span)),
        Kind::Spoiled => (kind, spoiled(&span)),
        Kind::Lost if span.len() > 1 => (kind, lost(&span, rng)),
        Kind::Reordered if span.len() > 1 => (kind, reordered(&span, rng)),
        Kind::Lost | Kind::Reordered | Kind::Torn => match torn(recorded, &span, rng) {
            Some(reached) => (Kind::Torn, reached),
            None => (Kind::Lost, lost(&span, rng)),
        },
    };
    let fua = |request: usize| recorded.write(request).is_some_and(|write| write.fua);
    let mut reached: Vec<Reached> = reached
        .into_iter()
        .filter(|reached| !fua(reached.request) || reached.request == last)
        .collect();
    // A completed FUA write is on the medium; only the last one may be in progress.
    let done = span
        .iter()
        .filter(|request| fua(**request) && **request != last);
    reached.extend(done.map(|request| Reached::whole(*request)));
    reached.sort_by_key(|reached| reached.request);
    State {
        number,
        recording,
        kind,
        last,
        settled,
        reached,
    }
}

fn whole(span: &[usize]) -> Vec<Reached> {
    span.iter()
        .map(|request| Reached::whole(*request))
        .collect()
}

/// All reached the medium, but the last one is neither old nor new.
fn spoiled(span: &[usize]) -> Vec<Reached> {
    let mut reached = whole(span);
    if let Some(last) = reached.last_mut() {
        last.spoiled = true;
    }
    reached
}

/// At least one is missing.
fn lost(span: &[usize], rng: &mut Rng) -> Vec<Reached> {
    let missing = rng.usize(..span.len());
    let share = rng.u8(..);
    let kept = |place: usize, rng: &mut Rng| place != missing && rng.u8(..) >= share;
    (0..span.len())
        .filter(|place| kept(*place, rng))
        .map(|place| Reached::whole(span[place]))
        .collect()
}

/// The latest reached the medium, those before them did not.
fn reordered(span: &[usize], rng: &mut Rng) -> Vec<Reached> {
    let first = rng.usize(1..span.len());
    whole(&span[first..])
}

/// The last write of more than one sector is torn; in every fourth state others are missing, too.
fn torn(recorded: &Recorded, span: &[usize], rng: &mut Rng) -> Option<Vec<Reached>> {
    let sectors = |request: usize| {
        recorded
            .write(request)
            .map_or(0, |write| write.sectors as usize)
    };
    let place = span.iter().rposition(|request| sectors(*request) > 1)?;
    let count = sectors(span[place]);
    let here = match rng.bool() {
        // Written from the beginning to the end.
        true => {
            let length = rng.usize(1..count);
            (0..count).map(|sector| sector < length).collect()
        }
        false => {
            let mut here: Vec<bool> = (0..count).map(|_| rng.bool()).collect();
            let (old, new) = (rng.usize(..count), rng.usize(1..count));
            here[old] = false;
            here[(old + new) % count] = true;
            here
        }
    };
    let before = match rng.u8(..4) {
        0 if place > 0 => lost(&span[..place], rng),
        _ => whole(&span[..place]),
    };
    let torn = Reached {
        request: span[place],
        sectors: Some(here),
        spoiled: false,
    };
    Some(before.into_iter().chain([torn]).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::recorded::tests::{recorded, Act};

    /// Two writes, a flush, then five writes of which the last has eight sectors.
    pub(crate) fn span() -> Recorded {
        use Act::{Flush, Write};
        recorded(&[
            Write(10, 1),
            Write(11, 1),
            Flush,
            Write(12, 1),
            Write(13, 1),
            Write(14, 2),
            Write(16, 1),
            Write(20, 8),
        ])
    }

    fn requests(state: &State) -> Vec<usize> {
        state
            .reached
            .iter()
            .map(|reached| reached.request)
            .collect()
    }

    #[test]
    fn what_was_flushed_stays_and_the_rest_may_go() {
        let recorded = span();
        for seed in 0..300 {
            let mut rng = Rng::with_seed(seed);
            let mut state = |kind| describe(&recorded, seed, 0, 7, kind, &mut rng);
            let after = state(Kind::After);
            assert_eq!((after.settled, requests(&after)), (3, vec![3, 4, 5, 6, 7]));
            let lost = state(Kind::Lost);
            assert!(requests(&lost).len() < 5, "{lost:?}");
            let reordered = state(Kind::Reordered);
            assert!(requests(&reordered).contains(&7) && !requests(&reordered).contains(&3));
            let spoiled = state(Kind::Spoiled).reached;
            assert_eq!(spoiled.len(), 5);
            assert!(spoiled[4].spoiled && !spoiled[3].spoiled);
            let torn = state(Kind::Torn);
            let last = torn.reached.last().unwrap();
            let sectors = last.sectors.as_ref().unwrap();
            assert_eq!((last.request, sectors.len()), (7, 8));
            assert!(
                sectors.contains(&true) && sectors.contains(&false),
                "{torn:?}"
            );
        }
    }
}
