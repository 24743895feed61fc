//! A lower bound for the system clock: with a dead clock battery a terminal starts in 1970, where
//! TLS fails.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{clock_settime, ClockId, Timespec};

/// Longest file of a saved time, bytes.
const MAX_SAVED: u64 = 64;

/// Returns the later of the image's build time and the last saved time if it is ahead of `now`,
/// else `None`.
///
/// All values are seconds since 1970-01-01 UTC.
pub fn floor(now: u64, build_time: Option<u64>, saved: Option<u64>) -> Option<u64> {
    build_time.max(saved).filter(|floor| *floor > now)
}

/// Returns the system clock's time in seconds since 1970-01-01 UTC.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |duration| duration.as_secs())
}

/// Sets the system clock (needs CAP_SYS_TIME).
pub fn set(seconds: u64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    clock_settime(ClockId::Realtime, time).map_err(io::Error::from)
}

/// Returns the time saved by [`save`]; `None` if the file is missing or damaged.
pub fn saved(path: &Path) -> Option<u64> {
    let bytes = crate::durable::read(path, MAX_SAVED).ok()?;
    std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
}

/// Saves the time for the next start.
pub fn save(path: &Path, seconds: u64) -> io::Result<()> {
    crate::durable::write(path, format!("{seconds}\n").as_bytes(), 0o644)
}

/// Raises the system clock to its lower bound; returns the new time if it was raised.
pub fn raise(build_time: Option<u64>, saved_in: &Path) -> io::Result<Option<u64>> {
    match floor(now(), build_time, saved(saved_in)) {
        None => Ok(None),
        Some(seconds) => set(seconds).map(|()| Some(seconds)),
    }
}

/// A time of the system clock that was confirmed as about right. It advances by a clock that does
/// not jump.
#[derive(Debug, Clone, Copy)]
pub struct ShownTime {
    seconds: u64,
    at: Instant,
}

impl ShownTime {
    /// Takes the system clock's current time as confirmed.
    pub fn now() -> Self {
        ShownTime {
            seconds: now(),
            at: Instant::now(),
        }
    }

    /// Returns whether the system clock still goes by the confirmed time, to within a day: whoever
    /// set it since may have had a reason.
    pub fn still_holds(&self) -> bool {
        let expected = self.seconds.saturating_add(self.at.elapsed().as_secs());
        now().abs_diff(expected) <= 86_400
    }

    /// Returns the system clock's time to save for the next start, but none ahead of the confirmed
    /// time.
    pub fn to_keep(&self) -> u64 {
        at_most(now(), self.seconds, self.at.elapsed())
    }
}

fn at_most(now: u64, shown: u64, since: Duration) -> u64 {
    now.min(shown.saturating_add(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_clock_that_jumps_ahead_after_it_was_shown_is_not_kept() {
        let hour = Duration::from_secs(3600);
        for (now, expected) in [
            (1_000 + 3600, 1_000 + 3600),
            (4_000_000_000, 1_000 + 3600),
            (20, 20),
        ] {
            assert_eq!(at_most(now, 1_000, hour), expected);
        }
    }

    #[test]
    fn the_clock_is_only_ever_raised() {
        let cases = [
            (0, Some(100), Some(200), Some(200)),
            (0, Some(200), Some(100), Some(200)),
            (0, None, Some(100), Some(100)),
            (0, None, None, None),
            (300, Some(200), Some(100), None),
            (200, Some(200), None, None),
        ];
        for (now, build, saved, expected) in cases {
            assert_eq!(
                floor(now, build, saved),
                expected,
                "{now} {build:?} {saved:?}"
            );
        }
    }

    #[test]
    fn a_damaged_saved_time_is_no_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clock");
        assert_eq!(saved(&path), None);
        fs::write(&path, "\0\0\0").unwrap();
        assert_eq!(saved(&path), None);
        save(&path, 1_800_000_000).unwrap();
        assert_eq!(saved(&path), Some(1_800_000_000));
    }
}
