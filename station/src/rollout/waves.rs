//! Who belongs to which wave.

use super::plan::{Take, Wave};

/// Returns the number of the wave, from 1, that takes a terminal on this feeder: the first one that it
/// fits and that is not full. `taken` has the number of terminals in each wave; `all` is the number of
/// terminals in the rollout.
pub fn of(waves: &[Wave], taken: &[u32], all: u32, feeder: Option<&str>) -> Option<usize> {
    let taken = taken.iter().copied().chain(std::iter::repeat(0));
    let mut numbered = (1..).zip(waves.iter().zip(taken));
    let takes = |wave: &Wave, taken: u32| match &wave.take {
        Take::Count(count) => taken < *count,
        Take::Percent(percent) => f64::from(taken) * 100.0 < percent * f64::from(all),
        Take::Feeders(feeders) => feeder.is_some_and(|one| feeders.iter().any(|name| name == one)),
        Take::Rest => true,
    };
    let found = numbered.find(|(_, (wave, taken))| takes(wave, *taken));
    found.map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_go_into_the_first_wave_that_takes_them() {
        let wave = |take| Wave {
            take,
            ..Wave::default()
        };
        let feeders = Take::Feeders(vec!["F1".to_owned()]);
        let takes = [Take::Count(1), feeders, Take::Percent(1.0), Take::Rest];
        let waves = takes.map(wave);
        let mut taken = [0; 4];
        for index in 0..250 {
            let feeder = (index % 50 == 3).then_some("F1");
            let wave = of(&waves, &taken, 250, feeder).unwrap();
            taken[wave - 1] += 1;
        }
        // One per cent of 250 is 2.5: three.
        assert_eq!(taken, [1, 5, 3, 241]);
        assert_eq!(of(&waves[..3], &taken, 250, None), None);
    }
}
