//! The two copies on the boot partition.

use std::io;
use std::path::{Path, PathBuf};

use dau_system::durable;

use crate::{newest, BootState, DecodeError, COPY_NAMES};

/// A longer file is read no further, in bytes.
const MAX_COPY: u64 = 64 << 10;

/// Extension of a copy on a bad place of the medium.
const BAD: &str = "bad";

/// The two copies as they were read.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    copies: [Result<BootState, DecodeError>; 2],
}

/// A reason why the boot state could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A copy could not be written; the other one still counts.
    #[error("cannot write {path}, the boot state stays as it was: {source}")]
    Write {
        /// The copy.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The state cannot be put into a copy.
    #[error("cannot encode the boot state: {0}")]
    Encode(#[from] crate::EncodeError),
}

impl Store {
    /// Reads both copies in the mounted boot partition. One that is missing, or that the medium
    /// does not give back, is one that is damaged, as it is for the bootloader.
    pub fn load(directory: &Path) -> Self {
        let copies = COPY_NAMES.map(
            |name| match durable::read(&directory.join(name), MAX_COPY) {
                Ok(bytes) => BootState::decode(&bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => BootState::decode(&[]),
                Err(error) => Err(DecodeError::Unreadable(error.to_string())),
            },
        );
        Store {
            directory: directory.to_owned(),
            copies,
        }
    }

    /// Returns the state that counts; `None` when neither copy is valid.
    pub fn state(&self) -> Option<&BootState> {
        let [a, b] = self.readable();
        newest(a, b).and_then(|index| if index == 0 { a } else { b })
    }

    /// Returns both copies.
    pub fn copies(&self) -> &[Result<BootState, DecodeError>; 2] {
        &self.copies
    }

    /// Writes `state` with the next sequence over the copy that does not count; one write, fsync,
    /// read back. Where the medium does not take it there, that copy is made anew, elsewhere on the
    /// medium.
    ///
    /// Power may go at any instant: before the write is on the medium, the old state counts; after
    /// it, the new one.
    pub fn save(&mut self, state: &BootState) -> Result<(), StoreError> {
        let [a, b] = self.readable();
        // Over the copy that does not count.
        let second = newest(a, b) == Some(0);
        let seq = self.state().map_or(1, |state| state.seq.wrapping_add(1));
        let state = BootState {
            seq,
            ..state.clone()
        };
        let [first_name, second_name] = COPY_NAMES;
        let [first_copy, second_copy] = &mut self.copies;
        let (name, copy) = match second {
            false => (first_name, first_copy),
            true => (second_name, second_copy),
        };
        let path = self.directory.join(name);
        let bytes = state.encode()?;
        if let Err(error) = durable::overwrite_in_place(&path, &bytes) {
            log::warn!("{}: {error}; making it anew", path.display());
            *copy = Err(DecodeError::Unreadable(error.to_string()));
            anew(&path, &bytes).map_err(|source| StoreError::Write { path, source })?;
        }
        *copy = Ok(state);
        Ok(())
    }

    fn readable(&self) -> [Option<&BootState>; 2] {
        self.copies.each_ref().map(|copy| copy.as_ref().ok())
    }
}

/// Makes a copy anew. The old file stays beside it, so that nothing else gets its place on the
/// medium.
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
    use crate::Operation;
    use dau_model::{Kind, Slot};

    /// The factory's state in the first copy, and an upgrade in the second one, which counts.
    fn armed() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path());
        store.save(&BootState::factory()).unwrap();
        store
            .save(&BootState::factory().armed(Operation::Install(Kind::Full)))
            .unwrap();
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
        store
            .save(&counts.armed(Operation::Install(Kind::Kernel)))
            .unwrap();
        assert_eq!(
            Store::load(dir.path()).state().unwrap().operation,
            Operation::Install(Kind::Kernel)
        );
        assert!(newest.is_file() && newest.with_extension(BAD).is_dir());
    }

    #[test]
    fn writes_alternate_and_the_last_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path());
        assert_eq!(store.state(), None);
        store.save(&BootState::factory()).unwrap();
        for kind in [
            Operation::Install(Kind::Full),
            Operation::Install(Kind::Kernel),
            Operation::Install(Kind::Rootfs),
            Operation::Rollback,
        ] {
            let before = Store::load(dir.path());
            let counted = before.state().unwrap().clone();
            let mut store = Store::load(dir.path());
            store.save(&counted.armed(kind)).unwrap();
            let after = Store::load(dir.path());
            assert_eq!(after.state().unwrap().operation, kind);
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
