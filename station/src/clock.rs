//! The time, and ids that never repeat.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns the seconds since 1970-01-01 UTC.
pub fn now() -> i64 {
    i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Formats a time as RFC 3339, UTC.
pub fn text(seconds: i64) -> String {
    dau_protocol::timestamp::format(u64::try_from(seconds).unwrap_or(0))
}

/// Smallest change of the clock that counts as a jump, seconds; deadlines need no better.
const LEAST_JUMP: i64 = 30;

/// Detects jumps of the wall clock by comparing it with the monotonic clock.
#[derive(Debug)]
pub struct Watch {
    wall: i64,
    monotonic: Instant,
}

impl Watch {
    /// Starts with the current readings of both clocks.
    pub fn new(wall: i64, monotonic: Instant) -> Self {
        Watch { wall, monotonic }
    }

    /// Returns the seconds by which the wall clock jumped since the last call; 0: no jump.
    pub fn jump(&mut self, wall: i64, monotonic: Instant) -> i64 {
        let passed = monotonic.saturating_duration_since(self.monotonic);
        let passed = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        let by = wall.saturating_sub(self.wall.saturating_add(passed));
        if by.saturating_abs() >= LEAST_JUMP {
            *self = Watch::new(wall, monotonic);
            return by;
        }
        // Slow drift is followed, or it would count as a jump some day.
        if passed >= LEAST_JUMP {
            *self = Watch::new(wall, monotonic);
        }
        0
    }
}

/// Largest id taken from the clock, for the year 2200. A clock beyond is wrong, and ids must stay
/// below 2^53.
const MAX_CLOCK_ID: i64 = 7_258_118_400_000_000;

/// Makes ids for jobs, orders and messages. They always grow, across restarts and lost databases
/// too (terminals remember job ids), and stay below 2^53, so that every JSON reader can hold them.
#[derive(Debug)]
pub struct Ids(AtomicI64);

impl Ids {
    /// Continues after `last`, the largest id so far.
    pub fn after(last: i64) -> Self {
        Ids(AtomicI64::new(last))
    }

    /// Returns the next id: microseconds since 1970, or one more than the last.
    pub fn next(&self) -> i64 {
        let clock = i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX);
        let clock = clock.min(MAX_CLOCK_ID);
        let mut last = self.0.load(Ordering::Relaxed);
        loop {
            let next = clock.max(last.saturating_add(1));
            match self
                .0
                .compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(other) => last = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TEN_YEARS: i64 = 10 * 365 * 86_400;

    #[test]
    fn jumps_both_ways_are_noticed_once_and_drift_is_none() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch::new(1000, start);
        assert_eq!(watch.jump(1001, after(1)), 0);
        assert_eq!(watch.jump(1002 + TEN_YEARS, after(2)), TEN_YEARS);
        assert_eq!(watch.jump(1003 + TEN_YEARS, after(3)), 0);
        assert_eq!(watch.jump(1004, after(4)), -TEN_YEARS);
        assert_eq!(watch.jump(1034, after(34)), 0);
        // Two seconds a minute, for a day.
        for minute in 1..1440_u32 {
            let wall = 1034 + i64::from(minute) * 62;
            assert_eq!(watch.jump(wall, after(34 + u64::from(minute) * 60)), 0);
        }
    }

    #[test]
    fn ids_grow_even_where_the_clock_is_behind() {
        let ids = Ids::after(1 << 52);
        assert_eq!((ids.next(), ids.next()), ((1 << 52) + 1, (1 << 52) + 2));
        let ids = Ids::after(0);
        let first = ids.next();
        assert!(first > 1_700_000_000_000_000 && first < 1 << 53);
        assert!(ids.next() > first);
    }
}
