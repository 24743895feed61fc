//! The two copies on the boot partition.

use std::io;
use std::path::{Path, PathBuf};

use dau_system::durable;

use crate::{newest, BootState, DecodeError, COPY_NAMES};

/// Extension of a copy on a bad place of the medium.
const BAD: &str = "bad";

/// The two copies as they were read.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    copies: [Result<BootState, DecodeError>; 2],
}

/// Why the boot state could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A copy could not be written; the other one still counts.
    #[error("cannot write {path}, the boot state stays as it was: {source}")]
    Write {
        /// The copy.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state cannot be put into a copy.
    #[error("cannot encode the boot state: {0}")]
    Encode(#[from] crate::env::EnvError),
}

impl Store {
    /// Reads both copies in the mounted boot partition. One that is missing, or that the medium does not give back, is one
    /// that is damaged, as it is for the bootloader.
    pub fn load(directory: &Path) -> Self {
        let copies = COPY_NAMES.map(|name| match std::fs::read(directory.join(name)) {
            Ok(bytes) => BootState::decode(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BootState::decode(&[]),
            Err(error) => Err(DecodeError::Unreadable(error.to_string())),
        });
        Store {
            directory: directory.to_owned(),
            copies,
        }
    }

    /// The state that counts; `None` when neither copy is valid.
    pub fn state(&self) -> Option<&BootState> {
        self.newest()
            .and_then(|index| self.copies[index].as_ref().ok())
    }

    /// Both copies, for reports.
    pub fn copies(&self) -> &[Result<BootState, DecodeError>; 2] {
        &self.copies
    }

    /// Writes `state` with the next sequence over the copy that does not count; one write, fsync, read back. Where the medium
    /// does not take it there, that copy is made anew, elsewhere on the medium.
    ///
    /// Power may go at any instant: before the write is on the medium, the old state counts; after it, the new one.
    pub fn save(&mut self, state: &BootState) -> Result<(), StoreError> {
        let (seq, index) = match (self.state(), self.newest()) {
            (Some(current), Some(index)) => (current.seq.wrapping_add(1), 1 - index),
            _ => (1, 0),
        };
        let state = BootState {
            seq,
            ..state.clone()
        };
        let path = self.directory.join(COPY_NAMES[index]);
        let bytes = state.encode()?;
        if let Err(error) = durable::overwrite_in_place(&path, &bytes) {
            log::warn!("{}: {error}; making it anew", path.display());
            self.copies[index] = Err(DecodeError::Unreadable(error.to_string()));
            anew(&path, &bytes).map_err(|source| StoreError::Write { path, source })?;
        }
        self.copies[index] = Ok(state);
        Ok(())
    }

    fn newest(&self) -> Option<usize> {
        newest(self.copies[0].as_ref().ok(), self.copies[1].as_ref().ok())
    }
}

/// Makes a copy anew. The old file stays beside it, so that nothing else gets its place on the medium.
fn anew(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match durable::rename(path, &path.with_extension(BAD)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    durable::overwrite_in_place(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Slot};

    /// The factory's state in the first copy, and an upgrade in the second one, which counts.
    fn armed() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path());
        store.save(&BootState::factory()).unwrap();
        store.save(&BootState::factory().armed(Kind::Full)).unwrap();
        (dir, store)
    }

    #[test]
    fn a_copy_that_cannot_be_read_or_written_is_made_anew_and_the_other_one_counts() {
        let (dir, _) = armed();
        let newest = dir.path().join(COPY_NAMES[1]);
        // Neither read(2) nor write(2) works on a folder.
        std::fs::remove_file(&newest).unwrap();
        std::fs::create_dir(&newest).unwrap();
        let mut store = Store::load(dir.path());
        assert!(matches!(store.copies()[1], Err(DecodeError::Unreadable(_))));
        let counts = store.state().unwrap().clone();
        assert!(!counts.upgrade);
        store.save(&counts.armed(Kind::Kernel)).unwrap();
        assert_eq!(Store::load(dir.path()).state().unwrap().kind, Kind::Kernel);
        assert!(newest.is_file() && newest.with_extension(BAD).is_dir());
    }

    #[test]
    fn writes_alternate_and_the_last_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path());
        assert_eq!(store.state(), None);
        store.save(&BootState::factory()).unwrap();
        for kind in [Kind::Full, Kind::Kernel, Kind::Rootfs, Kind::Rollback] {
            let before = Store::load(dir.path());
            let counted = before.state().unwrap().clone();
            let mut store = Store::load(dir.path());
            store.save(&counted.armed(kind)).unwrap();
            let after = Store::load(dir.path());
            assert_eq!(after.state().unwrap().kind, kind);
            // The copy that counted before was not touched.
            assert!(after.copies().iter().flatten().any(|copy| *copy == counted));
        }
    }

    #[test]
    fn a_torn_write_leaves_the_old_state() {
        let (dir, store) = armed();
        let old = store.state().unwrap().clone();
        let next = BootState {
            seq: old.seq.wrapping_add(1),
            ..old.committed(Slot::B, 3)
        };
        let bytes = next.encode().unwrap();
        let victim = dir.path().join(COPY_NAMES[0]);
        for length in (0..crate::COPY_SIZE).step_by(512) {
            let mut torn = std::fs::read(&victim).unwrap();
            torn[..length].copy_from_slice(&bytes[..length]);
            let copy = tempfile::tempdir().unwrap();
            std::fs::write(copy.path().join(COPY_NAMES[0]), &torn).unwrap();
            std::fs::copy(
                dir.path().join(COPY_NAMES[1]),
                copy.path().join(COPY_NAMES[1]),
            )
            .unwrap();
            let state = Store::load(copy.path()).state().cloned();
            // The text stands in the first sector and the CRC before it: a tear after it is whole.
            assert!(state == Some(old.clone()) || (length >= 512 && state == Some(next.clone())));
        }
    }

    #[test]
    fn both_copies_lost_is_no_state_and_can_be_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        for name in COPY_NAMES {
            std::fs::write(dir.path().join(name), [0xff; crate::COPY_SIZE]).unwrap();
        }
        let mut store = Store::load(dir.path());
        assert_eq!(store.state(), None);
        store.save(&BootState::factory()).unwrap();
        assert_eq!(Store::load(dir.path()).state(), Some(&BootState::factory()));
    }
}
