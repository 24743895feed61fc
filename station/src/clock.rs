//! The time, and ids that never repeat.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01 UTC.
pub fn now() -> i64 {
    since_epoch().as_secs() as i64
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// RFC 3339, UTC.
pub fn text(seconds: i64) -> String {
    dau_protocol::timestamp::format(u64::try_from(seconds).unwrap_or(0))
}

/// When an id of [`Ids`] was given, in seconds since 1970.
pub fn seconds_of_id(id: i64) -> i64 {
    id / 1_000_000
}

/// Gives ids for jobs, orders and messages: always larger than the ones before, also across restarts and for a database
/// that was lost (terminals remember job ids), and below 2^53, so that every JSON reader can hold them.
#[derive(Debug)]
pub struct Ids(AtomicI64);

impl Ids {
    /// Goes on after `last`, the largest id given so far.
    pub fn after(last: i64) -> Self {
        Ids(AtomicI64::new(last))
    }

    /// The next id: microseconds since 1970, or one more than the last.
    pub fn next(&self) -> i64 {
        let clock = since_epoch().as_micros() as i64;
        let mut last = self.0.load(Ordering::Relaxed);
        loop {
            let next = clock.max(last + 1);
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
    use super::*;

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
