//! Pauses between tries: doubling, with jitter, so that a fleet does not come back all at once.

use std::time::Duration;

use crate::settings::Range;

/// A pause that grows with every [`Backoff::next`].
#[derive(Debug, Clone)]
pub struct Backoff {
    range: Range,
    tries: u32,
}

impl Backoff {
    /// Starts at the shortest pause.
    pub fn new(range: Range) -> Self {
        Backoff { range, tries: 0 }
    }

    /// Returns the next pause.
    pub fn next(&mut self) -> Duration {
        let pause = pause(self.range, self.tries, random());
        self.tries = self.tries.saturating_add(1);
        pause
    }

    /// Makes the next pause the shortest again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

/// Returns the pause after `tries` earlier ones; `random` in 0..1 takes away up to half of it, but
/// it never goes below the shortest.
fn pause(range: Range, tries: u32, random: f64) -> Duration {
    let doubled = range.min.as_secs_f64() * 2_f64.powi(tries.min(30) as i32);
    let longest = doubled.min(range.max.as_secs_f64());
    let jittered = longest * (1.0 - 0.5 * random.clamp(0.0, 1.0));
    Duration::from_secs_f64(jittered.max(range.min.as_secs_f64()))
}

/// Returns a number in 0..1, and 0 where there is no random source.
pub fn random() -> f64 {
    let mut bytes = [0; 4];
    match openssl::rand::rand_bytes(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_their_bounds() {
        let range = Range {
            min: Duration::from_secs(1),
            max: Duration::from_secs(300),
        };
        let cases = [
            (0, 0.0, 1.0),
            (1, 0.0, 2.0),
            (3, 0.0, 8.0),
            (3, 1.0, 4.0),
            (0, 1.0, 1.0),
            (9, 0.0, 300.0),
            (u32::MAX, 1.0, 150.0),
        ];
        for (tries, random, seconds) in cases {
            let expected = Duration::from_secs_f64(seconds);
            assert_eq!(pause(range, tries, random), expected, "{tries} {random}");
        }
    }

    #[test]
    fn a_reset_starts_anew() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(Range {
            min: second,
            max: second * 60,
        });
        for _ in 0..9 {
            backoff.next();
        }
        assert!(backoff.next() >= second * 30);
        backoff.reset();
        assert_eq!(backoff.next(), second);
    }
}
