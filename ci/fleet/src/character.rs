//! What a terminal is like, drawn from the seed: the same seed gives the same fleet.

use clap::Args;
use dau_model::{Outcome, Word};
use fastrand::Rng;

/// Milliseconds since the start of the fleet.
pub type Millis = u64;

/// How often what goes wrong, and how good the links are. Rates are 0 to 1.
#[derive(Debug, Clone, Args, serde::Serialize)]
pub struct Faults {
    /// Most latency of a link, ms; each terminal draws its own, most of them a short one
    #[arg(long, value_name = "MS", default_value_t = 400)]
    pub latency: Millis,
    /// Part of the terminals that lose power once during a job
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    pub power_cuts: f64,
    /// Part of the messages that are on their way and get lost with a connection
    #[arg(long, value_name = "RATE", default_value_t = 0.3)]
    pub loss: f64,
    /// Part of the terminals whose clock is wrong: in 1970, or a year ahead
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    pub clocks: f64,
    /// Part of the jobs that end badly
    #[arg(long, value_name = "RATE", default_value_t = 0.1)]
    pub failures: f64,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Faults {
            latency: 0,
            power_cuts: 0.0,
            loss: 0.0,
            clocks: 0.0,
            failures: 0.0,
        }
    }
}

/// How a job ends badly: outcome and word, each as likely.
const FAILURES: [(Outcome, Word); 5] = [
    (Outcome::RolledBack, Word::HealthPort),
    (Outcome::Failed, Word::Download),
    (Outcome::Refused, Word::NoSpace),
    (Outcome::Refused, Word::WrongProduct),
    (Outcome::Failed, Word::Backup),
];
/// Longest time without power, ms.
const LONGEST_CUT: Millis = 8_000;
const YEAR: i64 = 365 * 86_400;

/// A loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The step of the job before which the power goes.
    pub step: usize,
    /// Time without power.
    pub pause: Millis,
}

/// What is drawn for a terminal.
#[derive(Debug, Clone)]
pub struct Character {
    /// Time that a message takes to the terminal.
    pub latency: Millis,
    /// Seconds by which its clock is wrong.
    pub clock: i64,
    /// The loss of power during its first job.
    pub cut: Option<Cut>,
    /// How its first job ends.
    pub ending: (Outcome, Word),
    /// For all that is drawn later.
    pub rng: Rng,
}

impl Character {
    /// Draws the terminal of this number; its jobs have `steps` steps.
    pub fn draw(seed: u64, number: usize, faults: &Faults, steps: usize) -> Self {
        let mut rng =
            Rng::with_seed(seed ^ (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // Squared: most links are good.
        let quality = rng.f64();
        let latency = (faults.latency as f64 * quality * quality) as Millis;
        let clock = match (rng.f64() < faults.clocks, rng.bool()) {
            (false, _) => 0,
            (true, true) => YEAR,
            (true, false) => -1_790_000_000,
        };
        let cut = Cut {
            step: rng.usize(0..steps.max(1)),
            pause: rng.u64(500..LONGEST_CUT),
        };
        let cut = (rng.f64() < faults.power_cuts).then_some(cut);
        let failure = FAILURES[rng.usize(0..FAILURES.len())].clone();
        let ending = match rng.f64() < faults.failures {
            true => failure,
            false => (Outcome::Success, Word::Success),
        };
        Character {
            latency,
            clock,
            cut,
            ending,
            rng,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> Faults {
        Faults {
            latency: 400,
            power_cuts: 0.5,
            loss: 0.3,
            clocks: 0.5,
            failures: 0.5,
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_fleet_and_another_one_another() {
        let fleet = |seed| {
            let draw = |number| format!("{:?}", Character::draw(seed, number, &faults(), 9));
            (0..50).map(draw).collect::<Vec<_>>()
        };
        assert_eq!(fleet(1), fleet(1));
        assert_ne!(fleet(1), fleet(2));
        let all = fleet(1);
        assert_ne!(all[0], all[1]);
    }

    #[test]
    fn without_faults_nothing_goes_wrong() {
        for number in 0..1000 {
            let drawn = Character::draw(7, number, &Faults::none(), 9);
            assert_eq!((drawn.latency, drawn.clock, drawn.cut), (0, 0, None));
            assert_eq!(drawn.ending.0, Outcome::Success);
        }
    }
}
