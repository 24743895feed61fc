//! Pauses between repetitions, as the agent makes them: doubling, and up to half shorter at random,
//! but never below the shortest.

use fastrand::Rng;

use crate::character::Millis;

/// Something that is repeated until it is answered.
#[derive(Debug, Clone)]
pub struct Repeat {
    shortest: Millis,
    longest: Millis,
    tries: u32,
    /// The time of the next repetition; `None`: it is not needed.
    pub due: Option<Millis>,
}

impl Repeat {
    /// Is not due.
    pub fn new(shortest: Millis, longest: Millis) -> Self {
        Repeat {
            shortest,
            longest,
            tries: 0,
            due: None,
        }
    }

    /// Notes that it was done: it is due again after the next pause.
    pub fn done(&mut self, now: Millis, rng: &mut Rng) {
        self.due = Some(now + self.pause(rng));
    }

    /// Returns the next pause.
    pub fn pause(&mut self, rng: &mut Rng) -> Millis {
        let doubled = self.shortest.saturating_mul(1 << self.tries.min(30));
        let longest = doubled.min(self.longest);
        self.tries = self.tries.saturating_add(1);
        let jittered = (longest as f64 * (1.0 - 0.5 * rng.f64())) as Millis;
        jittered.max(self.shortest)
    }

    /// Makes the next pause the shortest again, and is not due.
    pub fn reset(&mut self) {
        self.tries = 0;
        self.due = None;
    }
}
