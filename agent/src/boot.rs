//! The boot partition: mounted only while the boot state is read or written.

use anyhow::Context;
use dau_boot_state::{BootState, Kind, Slot, Store};
use dau_system::volume::Volume;
use nix::mount::MsFlags;

/// The state that counts; `None` where no copy is valid.
pub fn read(volume: &Volume) -> anyhow::Result<Option<BootState>> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    let opened = volume.open_with(flags)?;
    let state = Store::load(opened.path())?.state().cloned();
    opened.close()?;
    Ok(state)
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
    let mut store = Store::load(opened.path())?;
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
        Store::load(dir.path())
            .unwrap()
            .save(&BootState::factory())
            .unwrap();
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
    fn without_a_valid_copy_the_running_kernel_decides() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Volume::Directory(dir.path().to_owned());
        assert!(settle(&volume, None).is_err());
        settle(&volume, Some('b')).unwrap();
        assert_eq!(read(&volume).unwrap().unwrap().kernel, Slot::B);
    }
}
