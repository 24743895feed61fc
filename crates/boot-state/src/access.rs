//! The boot state on its partition, which is mounted only meanwhile.

use std::path::Path;

use dau_system::volume::{Volume, VolumeError};

use crate::{BootState, Store, StoreError, COPY_NAMES};

/// A reason why the boot state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The partition cannot be mounted or unmounted.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The new state cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns the state that counts; `None` where no copy is valid.
pub fn read(boot: &Volume) -> Result<Option<BootState>, AccessError> {
    look(boot, |_, state| state.cloned())
}

/// Hands the mounted partition and the state that counts to `inside`, and returns what that
/// returns.
pub fn look<T>(
    boot: &Volume,
    inside: impl FnOnce(&Path, Option<&BootState>) -> T,
) -> Result<T, AccessError> {
    let opened = boot.open_read_only()?;
    let store = Store::load(opened.path());
    for (name, copy) in COPY_NAMES.iter().zip(store.copies()) {
        if let Err(error) = copy {
            log::warn!("{name} is no boot state: {error}");
        }
    }
    let found = inside(opened.path(), store.state());
    opened.close()?;
    Ok(found)
}

/// Changes the state in one write: `next` derives the new state from the one that counts (`None`:
/// no copy is valid), or returns `None` to leave it as it is. Returns the state that counts from
/// now on.
///
/// # Errors
/// The error of `next`, or an [`AccessError`]. If the partition could not be unmounted, the write
/// may have come through all the same: [`read`] tells.
pub fn change<E: From<AccessError>>(
    boot: &Volume,
    next: impl FnOnce(Option<&BootState>) -> Result<Option<BootState>, E>,
) -> Result<Option<BootState>, E> {
    let opened = boot.open().map_err(AccessError::from)?;
    let mut store = Store::load(opened.path());
    if let Some(state) = next(store.state())? {
        store.save(&state).map_err(AccessError::from)?;
    }
    let state = store.state().cloned();
    opened.close().map_err(AccessError::from)?;
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use dau_model::Kind;

    #[test]
    fn a_change_is_one_write_and_none_where_nothing_changes() {
        let dir = tempfile::tempdir().unwrap();
        let boot = Volume::Directory(dir.path().to_owned());
        assert_eq!(read(&boot).unwrap(), None);
        let armed = |state: Option<&BootState>| -> Result<_, AccessError> {
            let factory = BootState::factory();
            Ok(Some(
                state
                    .unwrap_or(&factory)
                    .armed(Operation::Install(Kind::Full)),
            ))
        };
        for seq in [1, 2] {
            let state = change(&boot, armed).unwrap().unwrap();
            assert_eq!(
                (state.seq, state.operation),
                (seq, Operation::Install(Kind::Full))
            );
            assert_eq!(read(&boot).unwrap(), Some(state));
        }
        let same = change(&boot, |_| Ok::<_, AccessError>(None)).unwrap();
        assert_eq!(same.unwrap().seq, 2);
    }

    #[test]
    fn a_refusal_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let boot = Volume::Directory(dir.path().to_owned());
        let refused = change(&boot, |_| {
            Err(AccessError::Store(StoreError::Write {
                path: "x".into(),
                source: std::io::Error::other("no"),
            }))
        });
        assert!(refused.is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
