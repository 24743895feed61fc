//! The unfinished package on mnt, and beside it what it belongs to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dau_handoff::Layout;
use dau_system::durable;
use serde::{Deserialize, Serialize};

use crate::engine::Part;

/// Bytes and time after which what was written is forced to the medium: no more than these are lost
/// with the power.
const SYNC_BYTES: u64 = 4 << 20;
const SYNC_TIME: Duration = Duration::from_secs(5);

/// The note beside an unfinished package, `<job>.part.json`: what its bytes belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// The server's name for these bytes.
    pub etag: Option<String>,
    /// Bytes of the whole package.
    pub total: Option<u64>,
    /// Seconds since 1970-01-01 UTC of the first try.
    pub started_at: u64,
    /// Continued after a restart, or without a strong ETag: a damaged package may be our own fault.
    pub doubtful: bool,
    /// It was fetched anew for that reason: once is enough.
    pub fetched_again: bool,
    /// All of it was fetched and is on the medium.
    pub whole: bool,
    /// It was verified, and is a delta.
    pub delta: bool,
    /// Answers in a row, since bytes last came, that hardly were the file service's last word.
    pub suspects: u32,
}

/// `<job>.part`, open for appending.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    /// Bytes there.
    pub len: u64,
    synced: u64,
    synced_at: Instant,
    pub note: Note,
}

impl Partial {
    /// Opens it to go on with it after a restart: what is there is doubtful from now on.
    pub fn resume(path: &Path, now: u64) -> io::Result<Self> {
        let mut partial = Self::open(path, now)?;
        partial.note.doubtful |= partial.len > 0;
        partial.note.whole = false;
        partial.note.delta = false;
        partial.save_note()?;
        Ok(partial)
    }

    /// Opens or creates it. Bytes of which nothing is known are thrown away.
    pub fn open(path: &Path, now: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let known = load_note(path)?;
        let mut len = file.seek(SeekFrom::End(0))?;
        if known.as_ref().is_none_or(|note| note.total.is_none()) && len > 0 {
            file.set_len(0)?;
            len = 0;
        }
        let mut partial = Partial {
            file,
            path: path.to_owned(),
            len,
            synced: len,
            synced_at: Instant::now(),
            note: known.unwrap_or(Note {
                started_at: now,
                ..Note::default()
            }),
        };
        // A clock that was behind must not end the job early.
        partial.note.started_at = partial.note.started_at.min(now);
        partial.save_note()?;
        Ok(partial)
    }

    /// Forgets all bytes, and with them the doubt.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.len = 0;
        self.synced = 0;
        self.note.etag = None;
        self.note.total = None;
        self.note.doubtful = false;
        self.note.whole = false;
        self.note.delta = false;
        self.save_note()
    }

    /// Notes what the bytes to come belong to. Without one and the same ETag nothing says that they
    /// continue those that are there.
    pub fn belongs_to(&mut self, etag: Option<&str>, total: u64) -> io::Result<()> {
        let tied = etag.is_some() && self.note.etag.as_deref() == etag;
        let note = Note {
            etag: etag.map(str::to_owned),
            total: Some(total),
            doubtful: self.note.doubtful || (self.len > 0 && !tied),
            ..self.note.clone()
        };
        self.replace_note(note)
    }

    /// Notes how many suspect answers came in a row.
    pub fn count_suspects(&mut self, suspects: u32) -> io::Result<()> {
        let note = Note {
            suspects,
            ..self.note.clone()
        };
        self.replace_note(note)
    }

    /// Forgets bytes that may be damaged by our own fault. Returns false if they are not, or were
    /// fetched anew before.
    pub fn fetch_again(&mut self) -> io::Result<bool> {
        let reason = self.note.doubtful && !self.note.fetched_again;
        if reason {
            self.note.fetched_again = true;
            self.restart()?;
        }
        Ok(reason)
    }

    fn replace_note(&mut self, note: Note) -> io::Result<()> {
        if note != self.note {
            self.note = note;
            self.save_note()?;
        }
        Ok(())
    }

    /// Appends; now and then forces it to the medium.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)?;
        self.len = self.len.saturating_add(bytes.len() as u64);
        let due = self.synced_at.elapsed() >= SYNC_TIME;
        if due || self.len.saturating_sub(self.synced) >= SYNC_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    /// Forces everything to the medium.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = self.len;
        self.synced_at = Instant::now();
        Ok(())
    }

    /// Forces everything to the medium and notes that nothing is missing.
    pub fn finish(&mut self) -> io::Result<()> {
        self.sync()?;
        self.note.whole = true;
        self.save_note()
    }

    /// Notes that it was verified, and is a delta.
    pub fn is_delta(&mut self) -> io::Result<()> {
        self.note.delta = true;
        self.save_note()
    }

    /// Returns how much was fetched: all of it only where the file is still as long as it was.
    pub fn found(path: &Path) -> io::Result<Part> {
        let note = load_note(path)?.unwrap_or_default();
        Ok(match note.total {
            Some(total) if note.whole && path.metadata()?.len() == total => match note.delta {
                true => Part::Delta,
                false => Part::Whole,
            },
            _ => Part::Begun,
        })
    }

    /// Returns the first `limit` bytes.
    pub fn prefix(&self, limit: usize) -> io::Result<Vec<u8>> {
        let mut prefix = vec![0; limit.min(usize::try_from(self.len).unwrap_or(limit))];
        self.file.read_exact_at(&mut prefix, 0)?;
        Ok(prefix)
    }

    /// Returns whether all bytes are there.
    pub fn is_complete(&self) -> bool {
        self.note.total == Some(self.len)
    }

    /// Removes the note of a `.part` file that became a package.
    pub fn forget(part: &Path) -> io::Result<()> {
        durable::remove(&Layout::part_note(part))
    }

    fn save_note(&self) -> io::Result<()> {
        let bytes = serde_json::to_vec(&self.note).map_err(io::Error::from)?;
        durable::write(&Layout::part_note(&self.path), &bytes, 0o600)
    }
}

/// Returns the note beside a `.part` file; a damaged one is none.
fn load_note(part: &Path) -> io::Result<Option<Note>> {
    let mut text = Vec::new();
    match File::open(Layout::part_note(part)) {
        Ok(file) => drop(file.take(1 << 16).read_to_end(&mut text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(serde_json::from_slice(&text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn bytes_and_what_they_belong_to_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("5.part");
        let mut partial = Partial::open(&path, 1000).unwrap();
        partial.belongs_to(Some("\"a\""), 6).unwrap();
        partial.append(b"abc").unwrap();
        drop(partial);
        assert!(!Partial::open(&path, 2000).unwrap().note.doubtful);
        let mut partial = Partial::resume(&path, 2000).unwrap();
        assert_eq!((partial.len, partial.note.started_at), (3, 1000));
        assert_eq!(partial.note.etag.as_deref(), Some("\"a\""));
        assert!(partial.note.doubtful && !partial.is_complete());
        partial.append(b"def").unwrap();
        assert!(partial.is_complete());
        assert_eq!(partial.prefix(100).unwrap(), b"abcdef");
        assert_eq!(partial.prefix(2).unwrap(), b"ab");
    }

    #[test]
    fn bytes_of_unknown_origin_are_thrown_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("5.part");
        fs::write(&path, b"abc").unwrap();
        assert_eq!(Partial::open(&path, 1).unwrap().len, 0);
        fs::write(&path, b"abc").unwrap();
        fs::write(Layout::part_note(&path), b"{\"total\":").unwrap();
        assert_eq!(Partial::open(&path, 1).unwrap().len, 0);
    }

    #[test]
    fn bytes_that_no_etag_ties_together_are_doubtful_on_disk_too() {
        let dir = tempfile::tempdir().unwrap();
        for etag in [None, Some("\"a\"")] {
            let path = dir
                .path()
                .join(format!("{}.part", etag.map_or(0, str::len)));
            let mut partial = Partial::open(&path, 1000).unwrap();
            partial.belongs_to(etag, 6).unwrap();
            partial.append(b"abc").unwrap();
            // Continued on another connection.
            partial.belongs_to(etag, 6).unwrap();
            partial.append(b"def").unwrap();
            let note = load_note(&path).unwrap().unwrap();
            assert_eq!(note.doubtful, etag.is_none());
            assert_eq!(partial.fetch_again().unwrap(), etag.is_none());
            assert!(!partial.fetch_again().unwrap());
        }
    }

    #[test]
    fn suspect_answers_are_counted_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("5.part");
        let mut partial = Partial::open(&path, 1000).unwrap();
        partial.count_suspects(3).unwrap();
        assert_eq!(Partial::open(&path, 2000).unwrap().note.suspects, 3);
    }
}
