//! The boot partition: mounted only while the boot state is read or written.

use dau_boot_state::access::{self, AccessError};
use dau_boot_state::{fit, recovery_name, BootState, Operation};
use dau_model::Slot;
use dau_system::durable;
use dau_system::volume::Volume;

pub use dau_boot_state::access::read;

/// Why the boot state stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The partition or a copy on it cannot be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// There is nothing to derive a new state from.
    #[error(
        "no copy of the boot state is valid: reboot once, RecoveryOS rebuilds it, then order again"
    )]
    NoState,
    /// An upgrade or a trial must end first.
    #[error("something else is pending: {0:?}")]
    Pending(BootState),
    /// There is no state, and nothing to make one from.
    #[error(
        "no copy of the boot state is valid, and the bootloader does not name the kernel slot"
    )]
    NoKernelSlot,
}

/// The RecoveryOS in charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InCharge {
    pub slot: Slot,
    /// As its image says; `None` where that says none.
    pub version: Option<String>,
    /// It takes packages that were rebuilt of deltas.
    pub takes_rebuilt: bool,
}

/// Returns the RecoveryOS in charge; `None` where no copy of the boot state is valid.
pub fn recovery_in_charge(boot: &Volume) -> Result<Option<InCharge>, AccessError> {
    access::look(boot, |folder, state| {
        let slot = state?.recovery;
        let name = recovery_name(slot);
        let described = durable::open(&folder.join(name))
            .map_err(fit::FitError::from)
            .and_then(|file| fit::describe(&file, 0));
        let described = described.unwrap_or_else(|error| {
            log::warn!("{name} {error}");
            None
        });
        Some(InCharge {
            slot,
            takes_rebuilt: described.as_ref().is_some_and(|said| said.takes_rebuilt),
            version: described.map(|said| said.version),
        })
    })
}

/// Asks for the check of the RecoveryOS that is not in charge, in one write.
pub fn ask_for_check(boot: &Volume) -> Result<(), BootError> {
    change(boot, |state| {
        let state = state.ok_or(BootError::NoState)?;
        match state.upgrade || state.trial {
            true => Err(BootError::Pending(state.clone())),
            false => Ok((!state.check).then(|| state.checking())),
        }
    })
}

/// Calls the check off, where it was asked for.
pub fn call_off_check(boot: &Volume) -> Result<(), BootError> {
    change(boot, |state| {
        let asked = state.filter(|state| state.check);
        Ok(asked.map(|state| state.in_charge(state.recovery)))
    })
}

/// Sets the flag and what to do in one write.
pub fn arm(boot: &Volume, operation: Operation) -> Result<(), BootError> {
    change(boot, |state| {
        let state = state.ok_or(BootError::NoState)?;
        Ok((!state.upgrade || state.operation != operation).then(|| state.armed(operation)))
    })
}

/// Trusts the OS that runs: no flag, no trial. `running` is the kernel slot that the bootloader
/// named.
pub fn settle(boot: &Volume, running: Option<Slot>) -> Result<(), BootError> {
    change(boot, |state| {
        let (state, kernel) = match (state, running) {
            (Some(state), running) => (state.clone(), running.unwrap_or(state.kernel)),
            (None, Some(running)) => (BootState::factory(), running),
            (None, None) => return Err(BootError::NoKernelSlot),
        };
        let steady = state.steady(kernel);
        Ok((steady != state).then_some(steady))
    })
}

fn change(
    boot: &Volume,
    next: impl FnOnce(Option<&BootState>) -> Result<Option<BootState>, BootError>,
) -> Result<(), BootError> {
    access::change(boot, next).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dau_boot_state::Store;
    use dau_model::Kind;

    const FULL: Operation = Operation::Install(Kind::Full);
    const ROOTFS: Operation = Operation::Install(Kind::Rootfs);

    #[test]
    fn arming_and_settling_are_one_write_each_and_none_when_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::Directory(dir.path().to_owned());
        assert!(arm(&volume, FULL).is_err());
        Store::load(dir.path()).save(&BootState::factory()).unwrap();
        let seq = |volume| read(volume).unwrap().unwrap().seq;
        for _ in 0..2 {
            arm(&volume, ROOTFS).unwrap();
            assert_eq!(read(&volume).unwrap().unwrap().operation, ROOTFS);
            assert_eq!(seq(&volume), 2);
        }
        for _ in 0..2 {
            settle(&volume, Some(Slot::B)).unwrap();
            let state = read(&volume).unwrap().unwrap();
            assert!(!state.upgrade && !state.trial && state.kernel == Slot::B);
            assert_eq!(seq(&volume), 3);
        }
    }

    #[test]
    fn a_check_is_asked_for_in_one_write_and_called_off_in_one() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::Directory(dir.path().to_owned());
        assert!(ask_for_check(&volume).is_err());
        assert_eq!(recovery_in_charge(&volume).unwrap(), None);
        let mut store = Store::load(dir.path());
        store.save(&BootState::factory()).unwrap();
        for (seq, check) in [(2, true), (2, true), (3, false), (3, false)] {
            match check {
                true => ask_for_check(&volume).unwrap(),
                false => call_off_check(&volume).unwrap(),
            }
            let state = read(&volume).unwrap().unwrap();
            assert_eq!((state.seq, state.check), (seq, check));
        }
        for (more, takes_rebuilt) in [("", false), (" rebuilt-packages", true)] {
            let image = fit::testing::image(&format!("DAU test 1.2.0 RecoveryOS{more}"), &[]);
            std::fs::write(dir.path().join("recovery-a.itb"), image).unwrap();
            let found = recovery_in_charge(&volume).unwrap().unwrap();
            assert_eq!(
                (found.slot, found.version.as_deref(), found.takes_rebuilt),
                (Slot::A, Some("1.2.0"), takes_rebuilt)
            );
        }
        arm(&volume, FULL).unwrap();
        assert!(ask_for_check(&volume).is_err());
    }

    #[test]
    fn without_a_valid_copy_the_running_kernel_decides() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::Directory(dir.path().to_owned());
        assert!(settle(&volume, None).is_err());
        settle(&volume, Some(Slot::B)).unwrap();
        assert_eq!(read(&volume).unwrap().unwrap().kernel, Slot::B);
    }
}
