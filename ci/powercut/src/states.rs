//! Numbered crash states. Number and seed determine a state of given recordings.

use fastrand::Rng;

use crate::crash::{describe, Kind, State};
use crate::recorded::Recorded;
use crate::step::Step;
use crate::timeline::Timeline;

/// A recording and its timeline.
pub type Source<'a> = (&'a Recorded, &'a Timeline);

/// The numbered states of several recordings.
#[derive(Debug)]
pub struct Catalogue {
    seed: u64,
    /// For every recording: its writes, and the first write of each step.
    writes: Vec<Vec<usize>>,
    starts: Vec<Vec<usize>>,
    /// For every recording: the writes that made another boot state valid.
    switches: Vec<Vec<usize>>,
}

impl Catalogue {
    pub fn new(sources: &[Source<'_>], seed: u64) -> Self {
        let writes: Vec<Vec<usize>> = sources
            .iter()
            .map(|(recorded, _)| recorded.writes().collect())
            .collect();
        let starts = sources
            .iter()
            .zip(&writes)
            .map(|((_, timeline), writes)| {
                let step = |place: usize| timeline.steps[writes[place]];
                (0..writes.len())
                    .filter(|place| *place == 0 || step(*place) != step(place - 1))
                    .collect()
            })
            .collect();
        let switches = sources
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

    /// Returns the number of states of kind [`Kind::After`]: one for every write, with the first
    /// numbers.
    pub fn writes(&self) -> u64 {
        self.writes.iter().map(|writes| writes.len() as u64).sum()
    }

    /// Returns a state by its number.
    pub fn state(&self, sources: &[Source<'_>], number: u64) -> State {
        let mut place = number;
        for (recording, writes) in self.writes.iter().enumerate() {
            match writes.get(usize::try_from(place).unwrap_or(usize::MAX)) {
                Some(last) => {
                    return describe(
                        sources[recording].0,
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
        // Every other state picks its step first: short steps must not be missed.
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
            sources[recording].0,
            number,
            recording,
            writes[place],
            kind,
            &mut rng,
        )
    }

    /// Returns the numbers of the states of kind [`Kind::After`] at the edges of every step, with
    /// the recording and the step entered or left: the first write of a step, the one before, and
    /// the last.
    pub fn edges(&self, sources: &[Source<'_>]) -> Vec<(u64, usize, Step)> {
        let mut found = Vec::new();
        let mut offset = 0;
        for (recording, (writes, starts)) in self.writes.iter().zip(&self.starts).enumerate() {
            for start in starts {
                for place in [start.checked_sub(1), Some(*start)].into_iter().flatten() {
                    let step = sources[recording].1.steps[writes[place]];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::tests::span;

    #[test]
    fn the_same_seed_and_number_are_the_same_state() {
        let recorded = span();
        let timeline = Timeline {
            steps: vec![Step::Fetch; 8],
            states: Vec::new(),
            accepted: 0,
        };
        let sources = [(&recorded, &timeline)];
        let catalogue = Catalogue::new(&sources, 7);
        assert_eq!(catalogue.writes(), 7);
        let other = Catalogue::new(&sources, 8);
        let mut differs = false;
        for number in 0..100 {
            let state = catalogue.state(&sources, number);
            let again = catalogue.state(&sources, number);
            assert_eq!((state.last, &state.reached), (again.last, &again.reached));
            differs |= other.state(&sources, number).reached != state.reached;
        }
        assert!(differs, "the seed makes no difference");
        let kinds: Vec<Kind> = (0..7)
            .map(|number| catalogue.state(&sources, number).kind)
            .collect();
        assert_eq!(kinds, [Kind::After; 7]);
    }
}
