//! Crash states, numbered. A number and the seed say all about a state of a given set of recordings.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::image::Reached;
use crate::recorded::Recorded;
use crate::timeline::{Step, Timeline};

/// How the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Right after a write that reached the medium, as all before it.
    After,
    /// Some writes since the last flush were still in the disk's cache.
    Lost,
    /// The disk had written later ones first.
    Reordered,
    /// The disk was in the middle of a write: some of its sectors are old.
    Torn,
    /// The disk was in the middle of writing a copy of the boot state, which is now neither the old one nor the new one.
    Spoiled,
}

/// A crash state.
#[derive(Debug, Clone)]
pub struct State {
    /// Its number.
    pub number: u64,
    /// Which recording, by its place in the set.
    pub recording: usize,
    /// How.
    pub kind: Kind,
    /// The last request that was made, a write.
    pub last: usize,
    /// Requests before this one are on the medium.
    pub settled: usize,
    /// What is there of the others.
    pub reached: Vec<Reached>,
}

/// A recording, and what it shows.
pub type Told<'a> = (&'a Recorded, &'a Timeline);

/// Describes states.
#[derive(Debug)]
pub struct Catalogue {
    seed: u64,
    /// For every recording: its writes, and where a new step begins among them.
    writes: Vec<Vec<usize>>,
    starts: Vec<Vec<usize>>,
    /// For every recording: the writes that made another boot state count.
    switches: Vec<Vec<usize>>,
}

impl Catalogue {
    /// The states of these recordings.
    pub fn new(told: &[Told<'_>], seed: u64) -> Self {
        let writes: Vec<Vec<usize>> = told
            .iter()
            .map(|(recorded, _)| recorded.writes().collect())
            .collect();
        let starts = told
            .iter()
            .zip(&writes)
            .map(|((_, timeline), writes)| {
                let step = |place: usize| timeline.steps[writes[place]];
                (0..writes.len())
                    .filter(|place| *place == 0 || step(*place) != step(place - 1))
                    .collect()
            })
            .collect();
        let switches = told
            .iter()
            .map(|(_, timeline)| timeline.switches().collect())
            .collect();
        Catalogue {
            seed,
            writes,
            starts,
            switches,
        }
    }

    /// How many states there are of kind [`Kind::After`]: one for every write. They have the first numbers.
    pub fn writes(&self) -> u64 {
        self.writes.iter().map(|writes| writes.len() as u64).sum()
    }

    /// Describes a state.
    pub fn state(&self, told: &[Told<'_>], number: u64) -> State {
        let mut place = number;
        for (recording, writes) in self.writes.iter().enumerate() {
            match writes.get(usize::try_from(place).unwrap_or(usize::MAX)) {
                Some(last) => {
                    return describe(
                        told[recording].0,
                        number,
                        recording,
                        *last,
                        Kind::After,
                        &mut Rng::with_seed(0),
                    )
                }
                None => place -= writes.len() as u64,
            }
        }
        let mut rng = Rng::with_seed(self.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let recording = rng.usize(..self.writes.len());
        let (writes, starts) = (&self.writes[recording], &self.starts[recording]);
        // Every other one in a step chosen first: short steps are not to be missed for long ones.
        let place = if rng.bool() {
            rng.usize(..writes.len())
        } else {
            let step = rng.usize(..starts.len());
            let end = starts.get(step + 1).copied().unwrap_or(writes.len());
            rng.usize(starts[step]..end)
        };
        let kinds = [Kind::Lost, Kind::Reordered, Kind::Torn, Kind::Spoiled];
        let possible = match self.switches[recording].contains(&writes[place]) {
            true => &kinds[..],
            false => &kinds[..3],
        };
        let kind = possible[rng.usize(..possible.len())];
        describe(
            told[recording].0,
            number,
            recording,
            writes[place],
            kind,
            &mut rng,
        )
    }

    /// Numbers of states of kind [`Kind::After`] around the edges of every step, with the step that is entered or left; the
    /// first write of a step, the one before, and the last.
    pub fn edges(&self, told: &[Told<'_>]) -> Vec<(u64, usize, Step)> {
        let mut found = Vec::new();
        let mut offset = 0;
        for (recording, (writes, starts)) in self.writes.iter().zip(&self.starts).enumerate() {
            for start in starts {
                for place in [start.checked_sub(1), Some(*start)].into_iter().flatten() {
                    let step = told[recording].1.steps[writes[place]];
                    found.push((offset + place as u64, recording, step));
                }
            }
            offset += writes.len() as u64;
        }
        found.sort_by_key(|(number, ..)| *number);
        found.dedup_by_key(|(number, ..)| *number);
        found
    }
}

fn describe(
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
    let forced = |request: usize| recorded.write(request).is_some_and(|write| write.forced);
    let mut reached: Vec<Reached> = reached
        .into_iter()
        .filter(|reached| !forced(reached.request) || reached.request == last)
        .collect();
    // A forced write that is done is on the medium; only the last one may be under way.
    let done = span
        .iter()
        .filter(|request| forced(**request) && **request != last);
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

/// All are there, but the last one is neither old nor new.
fn spoiled(span: &[usize]) -> Vec<Reached> {
    let mut reached = whole(span);
    if let Some(last) = reached.last_mut() {
        last.spoiled = true;
    }
    reached
}

/// Any of them may be missing, one at least.
fn lost(span: &[usize], rng: &mut Rng) -> Vec<Reached> {
    let missing = rng.usize(..span.len());
    let share = rng.u8(..);
    let kept = |place: usize, rng: &mut Rng| place != missing && rng.u8(..) >= share;
    (0..span.len())
        .filter(|place| kept(*place, rng))
        .map(|place| Reached::whole(span[place]))
        .collect()
}

/// The latest are there, those before them are not.
fn reordered(span: &[usize], rng: &mut Rng) -> Vec<Reached> {
    let first = rng.usize(1..span.len());
    whole(&span[first..])
}

/// The last one of more than one sector is torn; in every fourth state others are missing, too.
fn torn(recorded: &Recorded, span: &[usize], rng: &mut Rng) -> Option<Vec<Reached>> {
    let sectors = |request: usize| {
        recorded
            .write(request)
            .map_or(0, |write| write.sectors as usize)
    };
    let place = span.iter().rposition(|request| sectors(*request) > 1)?;
    let count = sectors(span[place]);
    let here = match rng.bool() {
        // A disk that writes from the beginning to the end.
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
mod tests {
    use super::*;
    use crate::recorded::tests::{recorded, Act};

    /// Two settled writes, a flush, then five of which the last has eight sectors.
    fn span() -> Recorded {
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

    #[test]
    fn the_same_seed_and_number_are_the_same_state() {
        let recorded = span();
        let timeline = Timeline {
            steps: vec![Step::Fetch; 8],
            states: Vec::new(),
            accepted: 0,
        };
        let told = [(&recorded, &timeline)];
        let catalogue = Catalogue::new(&told, 7);
        assert_eq!(catalogue.writes(), 7);
        let other = Catalogue::new(&told, 8);
        let mut differs = false;
        for number in 0..100 {
            let state = catalogue.state(&told, number);
            let again = catalogue.state(&told, number);
            assert_eq!((state.last, &state.reached), (again.last, &again.reached));
            differs |= other.state(&told, number).reached != state.reached;
        }
        assert!(differs, "the seed makes no difference");
        let kinds: Vec<Kind> = (0..7)
            .map(|number| catalogue.state(&told, number).kind)
            .collect();
        assert_eq!(kinds, [Kind::After; 7]);
    }
}
