//! The unfinished package on mnt, and beside it what it belongs to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dau_system::durable;
use serde::{Deserialize, Serialize};

/// Bytes after which what was written is forced to the medium: no more than these are lost with the power.
const SYNC_EVERY: u64 = 4 << 20;

/// What an unfinished package belongs to; `<job>.part.json`.
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
}

/// `<job>.part`, open for appending.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    /// Bytes there.
    pub len: u64,
    synced: u64,
    pub note: Note,
}

impl Partial {
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
            note: known.unwrap_or(Note {
                started_at: now,
                ..Note::default()
            }),
        };
        partial.note.doubtful |= len > 0;
        // A clock that was behind must not end the job early.
        partial.note.started_at = partial.note.started_at.min(now);
        partial.save_note()?;
        Ok(partial)
    }

    /// Forgets all bytes.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.len = 0;
        self.synced = 0;
        self.note.etag = None;
        self.note.total = None;
        self.save_note()
    }

    /// Keeps what the bytes to come belong to.
    pub fn belongs_to(&mut self, etag: Option<&str>, total: u64) -> io::Result<()> {
        let same = (self.note.etag.as_deref(), self.note.total) == (etag, Some(total));
        if !same {
            self.note.etag = etag.map(str::to_owned);
            self.note.total = Some(total);
            self.save_note()?;
        }
        Ok(())
    }

    /// Appends; now and then forces it to the medium.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        if self.len - self.synced >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Forces everything to the medium.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = self.len;
        Ok(())
    }

    /// The first `limit` bytes.
    pub fn prefix(&self, limit: usize) -> io::Result<Vec<u8>> {
        let mut prefix = vec![0; limit.min(usize::try_from(self.len).unwrap_or(limit))];
        self.file.read_exact_at(&mut prefix, 0)?;
        Ok(prefix)
    }

    /// Whether all bytes are there.
    pub fn is_complete(&self) -> bool {
        self.note.total == Some(self.len)
    }

    pub fn save_note(&self) -> io::Result<()> {
        let bytes = serde_json::to_vec(&self.note).map_err(io::Error::from)?;
        durable::write(&note_path(&self.path), &bytes, 0o600)
    }
}

fn note_path(part: &Path) -> PathBuf {
    part.with_extension("part.json")
}

/// The note beside a `.part` file; a damaged one is none.
pub fn load_note(part: &Path) -> io::Result<Option<Note>> {
    let mut text = Vec::new();
    match File::open(note_path(part)) {
        Ok(file) => drop(file.take(1 << 16).read_to_end(&mut text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(serde_json::from_slice(&text).ok())
}

/// Removes the note of a `.part` file that became a package, or is gone.
pub fn forget(part: &Path) -> io::Result<()> {
    durable::remove(&note_path(part))
}

/// Removes a `.part` file and its note.
pub fn discard(part: &Path) -> io::Result<()> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    forget(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_what_they_belong_to_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("5.part");
        let mut partial = Partial::open(&path, 1000).unwrap();
        partial.belongs_to(Some("\"a\""), 6).unwrap();
        partial.append(b"abc").unwrap();
        drop(partial);
        let mut partial = Partial::open(&path, 2000).unwrap();
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
        fs::write(note_path(&path), b"{\"total\":").unwrap();
        assert_eq!(Partial::open(&path, 1).unwrap().len, 0);
    }

    #[test]
    fn nothing_is_left_of_what_was_discarded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("-5.part");
        Partial::open(&path, 1).unwrap();
        discard(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        discard(&path).unwrap();
    }
}
