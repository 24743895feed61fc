//! The two copies on the boot partition.

use std::io;
use std::path::{Path, PathBuf};

use dau_system::durable;

use crate::{newest, BootState, DecodeError, COPY_NAMES};

/// The two copies as they were read.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    copies: [Result<BootState, DecodeError>; 2],
}

/// Why the boot state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A copy could not be read although it is there.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The copy.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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
    /// Reads both copies in the mounted boot partition. A missing copy counts as damaged, not as an error.
    pub fn load(directory: &Path) -> Result<Self, StoreError> {
        let [a, b] = COPY_NAMES.map(|name| {
            let path = directory.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(BootState::decode(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BootState::decode(&[])),
                Err(source) => Err(StoreError::Read { path, source }),
            }
        });
        Ok(Store {
            directory: directory.to_owned(),
            copies: [a?, b?],
        })
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

    /// Writes `state` with the next sequence over the copy that does not count; one write, fsync, read back.
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
        durable::overwrite_in_place(&path, &state.encode()?)
            .map_err(|source| StoreError::Write { path, source })?;
        self.copies[index] = Ok(state);
        Ok(())
    }

    fn newest(&self) -> Option<usize> {
        newest(self.copies[0].as_ref().ok(), self.copies[1].as_ref().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Slot};

    #[test]
    fn writes_alternate_and_the_last_one_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path()).unwrap();
        assert_eq!(store.state(), None);
        store.save(&BootState::factory()).unwrap();
        for kind in [Kind::Full, Kind::Kernel, Kind::Rootfs, Kind::Rollback] {
            let before = Store::load(dir.path()).unwrap();
            let counted = before.state().unwrap().clone();
            let mut store = Store::load(dir.path()).unwrap();
            store.save(&counted.armed(kind)).unwrap();
            let after = Store::load(dir.path()).unwrap();
            assert_eq!(after.state().unwrap().kind, kind);
            // The copy that counted before was not touched.
            assert!(after.copies().iter().flatten().any(|copy| *copy == counted));
        }
    }

    #[test]
    fn a_torn_write_leaves_the_old_state() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::load(dir.path()).unwrap();
        store.save(&BootState::factory()).unwrap();
        store.save(&BootState::factory().armed(Kind::Full)).unwrap();
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
            let state = Store::load(copy.path()).unwrap().state().cloned();
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
        let mut store = Store::load(dir.path()).unwrap();
        assert_eq!(store.state(), None);
        store.save(&BootState::factory()).unwrap();
        assert_eq!(
            Store::load(dir.path()).unwrap().state(),
            Some(&BootState::factory())
        );
    }
}
