//! The boot partition: mounted only while the boot state is read or written.

use anyhow::Context;
use dau_boot_state::slot::READ_ONLY;
use dau_boot_state::{fit, BootState, Kind, Slot, Store};
use dau_system::volume::Volume;

/// The state that counts; `None` where no copy is valid.
pub fn read(volume: &Volume) -> anyhow::Result<Option<BootState>> {
    let opened = volume.open_with(READ_ONLY)?;
    let state = Store::load(opened.path()).state().cloned();
    opened.close()?;
    Ok(state)
}

/// The RecoveryOS in charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InCharge {
    pub slot: Slot,
    /// As its image says; `None` where that says none.
    pub version: Option<String>,
}

/// Which RecoveryOS is in charge; `None` where no copy of the boot state is valid.
pub fn recovery_in_charge(volume: &Volume) -> anyhow::Result<Option<InCharge>> {
    let opened = volume.open_with(READ_ONLY)?;
    let store = Store::load(opened.path());
    let found = store.state().map(|state| {
        let name = state.recovery.recovery_name();
        let version = fit::version(&opened.path().join(name)).unwrap_or_else(|error| {
            log::warn!("{name} {error}");
            None
        });
        InCharge {
            slot: state.recovery,
            version,
        }
    });
    opened.close()?;
    Ok(found)
}

/// Asks for the check of the RecoveryOS that is not in charge, in one write.
pub fn ask_for_check(volume: &Volume) -> anyhow::Result<()> {
    change(volume, |state| {
        let state = state.context("no copy of the boot state is valid")?;
        anyhow::ensure!(
            !state.upgrade && !state.trial,
            "something else is pending: {state:?}"
        );
        Ok((!state.check).then(|| state.checking()))
    })
}

/// Calls the check off, where it was asked for.
pub fn call_off_check(volume: &Volume) -> anyhow::Result<()> {
    change(volume, |state| {
        let asked = state.filter(|state| state.check);
        Ok(asked.map(|state| state.in_charge(state.recovery)))
    })
}

/// Sets the flag and the kind in one write.
pub fn arm(volume: &Volume, kind: Kind) -> anyhow::Result<()> {
    change(volume, |state| {
        let state = state.context(
            "no copy of the boot state is valid: reboot once, RecoveryOS rebuilds it, then order again",
        )?;
        Ok((!state.upgrade || state.kind != kind).then(|| state.armed(kind)))
    })
}

/// Trusts the OS that runs: no flag, no trial. `running` is the kernel slot that the bootloader named.
pub fn settle(volume: &Volume, running: Option<char>) -> anyhow::Result<()> {
    change(volume, |state| {
        let running = running.and_then(Slot::from_letter);
        let (state, kernel) = match (state, running) {
            (Some(state), running) => (state.clone(), running.unwrap_or(state.kernel)),
            (None, Some(running)) => (BootState::factory(), running),
            (None, None) => anyhow::bail!(
                "no copy of the boot state is valid, and the bootloader does not name the kernel slot"
            ),
        };
        let steady = state.steady(kernel);
        Ok((steady != state).then_some(steady))
    })
}

/// Reads the state, and writes what `next` makes of it, if anything.
fn change(
    volume: &Volume,
    next: impl FnOnce(Option<&BootState>) -> anyhow::Result<Option<BootState>>,
) -> anyhow::Result<()> {
    let opened = volume.open()?;
    let mut store = Store::load(opened.path());
    if let Some(state) = next(store.state())? {
        store.save(&state)?;
    }
    opened.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arming_and_settling_are_one_write_each_and_none_when_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::Directory(dir.path().to_owned());
        assert!(arm(&volume, Kind::Full).is_err());
        Store::load(dir.path()).save(&BootState::factory()).unwrap();
        let seq = |volume| read(volume).unwrap().unwrap().seq;
        for _ in 0..2 {
            arm(&volume, Kind::Rootfs).unwrap();
            assert_eq!(read(&volume).unwrap().unwrap().kind, Kind::Rootfs);
            assert_eq!(seq(&volume), 2);
        }
        for _ in 0..2 {
            settle(&volume, Some('b')).unwrap();
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
        let image = fit::testing::image("DAU test 1.2.0 RecoveryOS", &[]);
        std::fs::write(dir.path().join("recovery-a.itb"), image).unwrap();
        let found = recovery_in_charge(&volume).unwrap().unwrap();
        assert_eq!(
            (found.slot, found.version.as_deref()),
            (Slot::A, Some("1.2.0"))
        );
        arm(&volume, Kind::Full).unwrap();
        assert!(ask_for_check(&volume).is_err());
    }

    #[test]
    fn without_a_valid_copy_the_running_kernel_decides() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::Directory(dir.path().to_owned());
        assert!(settle(&volume, None).is_err());
        settle(&volume, Some('b')).unwrap();
        assert_eq!(read(&volume).unwrap().unwrap().kernel, Slot::B);
    }
}
