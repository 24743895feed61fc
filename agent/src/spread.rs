//! The time over which the station has terminals spread their EVENT_LINKUPs, kept on mnt: when a
//! whole district has power again, all its terminals start at once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dau_protocol::report::MAX_SPREAD;
use dau_system::durable;

use crate::backoff::random;

/// The longest file that is read, bytes.
const MOST: u64 = 16;

/// The time, and where it is kept.
#[derive(Debug)]
pub struct Spread {
    path: PathBuf,
    seconds: u64,
    /// When the next EVENT_LINKUP is due.
    due: Option<Instant>,
}

impl Spread {
    /// Reads it; none if there is none that can be read.
    pub fn load(path: PathBuf) -> Self {
        let bytes = durable::read(&path, MOST).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        let seconds: u64 = text.trim().parse().unwrap_or(0);
        Spread {
            path,
            seconds: seconds.min(MAX_SPREAD),
            due: None,
        }
    }

    /// Takes what the station said. A failure to keep it is logged: it is said again.
    pub fn set(&mut self, seconds: u64) {
        if seconds == self.seconds {
            return;
        }
        self.seconds = seconds.min(MAX_SPREAD);
        let text = format!("{}\n", self.seconds);
        if let Err(error) = durable::write(&self.path, text.as_bytes(), 0o644) {
            log::warn!("{} cannot be written: {error}", self.path.display());
        }
    }

    /// Returns when the terminal sends its EVENT_LINKUP; `None`: at once. The time stays the same over
    /// connections until one was [`sent`](Self::sent): on a poor link none would ever be.
    pub fn due(&mut self, now: Instant) -> Option<Instant> {
        self.due = match (self.wait(), self.due) {
            (Some(_), Some(due)) => Some(due),
            (wait, _) => wait.and_then(|wait| now.checked_add(wait)),
        };
        self.due
    }

    /// Notes that an EVENT_LINKUP was sent.
    pub fn sent(&mut self) {
        self.due = None;
    }

    fn wait(&self) -> Option<Duration> {
        let spread = Duration::from_secs(self.seconds);
        (self.seconds > 0).then(|| spread.mul_f64(random().clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_station_said_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spread");
        let mut spread = Spread::load(path.clone());
        assert_eq!(spread.wait(), None);
        spread.set(16);
        let again = Spread::load(path.clone());
        assert!((0..100).all(|_| again.wait().unwrap() <= Duration::from_secs(16)));
        spread.set(0);
        assert_eq!(Spread::load(path).wait(), None);
    }

    #[test]
    fn a_terminal_whose_connections_break_waits_no_longer_than_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut spread = Spread::load(folder.path().join("spread"));
        let now = Instant::now();
        assert_eq!(spread.due(now), None);
        spread.set(600);
        let due = spread.due(now).unwrap();
        for connection in 1..100 {
            let later = now + Duration::from_secs(60 * connection);
            assert_eq!(spread.due(later), Some(due));
        }
        spread.sent();
        let later = due + Duration::from_secs(1);
        assert!(spread.due(later).unwrap() >= later);
        spread.set(0);
        assert_eq!(spread.due(later), None);
    }

    #[test]
    fn a_damaged_file_delays_nothing_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spread");
        for (content, longest) in [
            ("", 0),
            ("x", 0),
            ("-1", 0),
            ("99999999", MAX_SPREAD),
            ("999999999999999999999", 0),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Spread::load(path.clone()).seconds, longest, "{content}");
        }
    }
}
