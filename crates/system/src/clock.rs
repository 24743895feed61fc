//! A floor under the system clock: a terminal whose clock battery is dead starts in 1970, and TLS fails there.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::libc::time_t;
use nix::sys::time::TimeSpec;
use nix::time::{clock_settime, ClockId};

/// The later of the image's build time and the last saved time, if it lies ahead of `now`.
///
/// All values are seconds since 1970-01-01 UTC; `None` when the clock needs no raising.
pub fn floor(now: u64, build_time: Option<u64>, saved: Option<u64>) -> Option<u64> {
    build_time.max(saved).filter(|floor| *floor > now)
}

/// Seconds since 1970-01-01 UTC by the system clock.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |duration| duration.as_secs())
}

/// A time as the C library has it: seconds since 1970-01-01 UTC and the nanoseconds that count up from them. Where its time_t has
/// 32 bits, as on 32-bit ARM, a time that does not fit becomes the first or last one that does.
pub fn timespec(seconds: i64, nanos: u32) -> TimeSpec {
    #[allow(clippy::useless_conversion)] // On machines whose time_t has 64 bits.
    let seconds = time_t::try_from(seconds).unwrap_or(match seconds {
        ..0 => time_t::MIN,
        _ => time_t::MAX,
    });
    TimeSpec::new(seconds, nanos as _)
}

/// Sets the system clock (needs CAP_SYS_TIME).
pub fn set(seconds: u64) -> io::Result<()> {
    let time = timespec(i64::try_from(seconds).unwrap_or(i64::MAX), 0);
    clock_settime(ClockId::CLOCK_REALTIME, time).map_err(io::Error::from)
}

/// The time saved by [`save`]; a missing or damaged file is no time.
pub fn saved(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Keeps the time for the next start.
pub fn save(path: &Path, seconds: u64) -> io::Result<()> {
    crate::durable::write(path, format!("{seconds}\n").as_bytes(), 0o644)
}

/// Raises the system clock to the floor; returns the new time if it was raised.
pub fn raise(build_time: Option<u64>, saved_in: &Path) -> io::Result<Option<u64>> {
    match floor(now(), build_time, saved(saved_in)) {
        None => Ok(None),
        Some(seconds) => set(seconds).map(|()| Some(seconds)),
    }
}

/// A time of the system clock that was shown to be about right. From then on it is told by a clock that does not jump.
#[derive(Debug, Clone, Copy)]
pub struct ShownTime {
    seconds: u64,
    at: Instant,
}

impl ShownTime {
    /// The system clock is shown to be right now.
    pub fn now() -> Self {
        ShownTime {
            seconds: now(),
            at: Instant::now(),
        }
    }

    /// The system clock's time for the next start, but none ahead of what was shown.
    pub fn to_keep(&self) -> u64 {
        at_most(now(), self.seconds, self.at.elapsed())
    }
}

fn at_most(now: u64, shown: u64, since: Duration) -> u64 {
    now.min(shown.saturating_add(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use nix::sys::time::TimeValLike;

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
    fn times_before_and_after_1970_keep_their_nanoseconds() {
        for (seconds, nanos) in [(0, 0), (1_774_000_000, 999_999_999), (-2, 500_000_000)] {
            let expected = TimeSpec::seconds(seconds) + TimeSpec::nanoseconds(nanos.into());
            assert_eq!(timespec(seconds, nanos), expected);
        }
        // As far as this machine's time_t goes.
        assert_eq!(timespec(i64::MAX, 0).tv_sec(), time_t::MAX);
        assert_eq!(timespec(i64::MIN, 0).tv_sec(), time_t::MIN);
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
