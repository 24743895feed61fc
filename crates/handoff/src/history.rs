//! Results of earlier jobs.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::job::{JobResult, MAX_FILE};

/// Most results that are kept.
pub const HISTORY_LIMIT: usize = 64;

/// An earlier job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Job id of the station.
    pub id: i64,
    /// The ordered version.
    pub version: String,
    /// Its result.
    pub result: JobResult,
}

/// Earlier jobs, oldest first, at most [`HISTORY_LIMIT`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    entries: Vec<Entry>,
}

impl History {
    /// Reads the history. A missing, damaged or unreadable one is empty, as it only saves work.
    pub fn load(path: &Path) -> Self {
        let read = match dau_system::durable::read(path, MAX_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            read => read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?)),
        };
        read.unwrap_or_else(|error| {
            log::warn!("{} is lost and starts anew: {error}", path.display());
            Self::default()
        })
    }

    /// Returns the job with this id, if it is in the history.
    pub fn find(&self, id: i64) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.id == id)
    }

    /// Adds a job, or replaces its entry; the oldest entries are removed.
    pub fn add(&mut self, entry: Entry) {
        self.entries.retain(|known| known.id != entry.id);
        self.entries.push(entry);
        let excess = self.entries.len().saturating_sub(HISTORY_LIMIT);
        self.entries.drain(..excess);
    }

    /// Writes the history durably.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(io::Error::from)?;
        dau_system::durable::write(path, &bytes, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64) -> Entry {
        let result = JobResult::success("");
        Entry {
            id,
            version: "1.1.0".into(),
            result,
        }
    }

    #[test]
    fn an_order_that_comes_again_is_known_until_many_others_came() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        let mut history = History::load(&path);
        for id in 0..=HISTORY_LIMIT as i64 {
            history.add(entry(id));
            history.add(entry(id));
        }
        history.save(&path).unwrap();
        let history = History::load(&path);
        assert_eq!(history.find(0), None);
        assert_eq!(history.find(1), Some(&entry(1)));
        assert_eq!(
            history.find(HISTORY_LIMIT as i64),
            Some(&entry(HISTORY_LIMIT as i64))
        );
    }

    #[test]
    fn a_damaged_history_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        std::fs::write(&path, "{\"entries\": [").unwrap();
        assert_eq!(History::load(&path), History::default());
        // A folder cannot be read as a file.
        assert_eq!(History::load(dir.path()), History::default());
    }
}
