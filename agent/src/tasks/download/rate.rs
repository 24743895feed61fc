//! A limit on bytes per second, so that an upgrade leaves room for the terminal's own traffic.

use std::time::{Duration, Instant};

/// A bucket that fills at the allowed rate and holds one second's worth.
#[derive(Debug)]
pub struct Limiter {
    /// Bytes per second; 0: no limit.
    rate: u64,
    /// Bytes that may pass at once; below 0 they were borrowed.
    room: f64,
    filled: Instant,
}

impl Limiter {
    /// `rate` in bytes per second, 0 for no limit.
    pub fn new(rate: u64, now: Instant) -> Self {
        Limiter {
            rate,
            room: rate as f64,
            filled: now,
        }
    }

    /// From now on this rate holds, 0 for none.
    pub fn set_rate(&mut self, rate: u64) {
        if rate != self.rate {
            self.rate = rate;
            self.room = self.room.min(rate as f64);
        }
    }

    /// Returns the bytes to take at once, at most `most`: few enough that waiting for them is no
    /// long silence.
    pub fn portion(&self, most: usize) -> usize {
        match self.rate {
            0 => most,
            rate => usize::try_from(rate).unwrap_or(most).clamp(1, most),
        }
    }

    /// Returns how long to wait after `bytes` have passed.
    pub fn pass(&mut self, bytes: usize, now: Instant) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        let rate = self.rate as f64;
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.room = (self.room + elapsed * rate).min(rate) - bytes as f64;
        Duration::from_secs_f64((-self.room / rate).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_time_no_more_than_the_rate_passes() {
        let start = Instant::now();
        let mut now = start;
        let mut limiter = Limiter::new(1000, now);
        let mut passed = 0;
        while now < start + Duration::from_secs(60) {
            passed += 250;
            now += limiter.pass(250, now) + Duration::from_millis(1);
        }
        assert!((57_000..=62_000).contains(&passed), "{passed}");
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let start = Instant::now();
        let mut limiter = Limiter::new(1000, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(limiter.pass(1000, later), Duration::ZERO);
        assert_eq!(limiter.pass(500, later), Duration::from_millis(500));
    }

    #[test]
    fn no_limit_is_no_wait() {
        let now = Instant::now();
        assert_eq!(Limiter::new(0, now).pass(usize::MAX, now), Duration::ZERO);
    }
}
