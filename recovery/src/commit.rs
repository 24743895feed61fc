//! The boot state: what it is, and the one write that changes it.

use anyhow::Result;
use dau_boot_state::slot::READ_ONLY;
use dau_boot_state::{BootState, Store};

use crate::terminal::Terminal;

/// Reads the state that counts.
pub fn load(terminal: &Terminal) -> Result<Option<BootState>> {
    let boot = terminal.boot.open_with(READ_ONLY)?;
    let store = Store::load(boot.path());
    for (name, copy) in dau_boot_state::COPY_NAMES.iter().zip(store.copies()) {
        if let Err(error) = copy {
            log::warn!("{name} is no boot state: {error}");
        }
    }
    let state = store.state().cloned();
    boot.close()?;
    Ok(state)
}

/// Derives the next state from the one that counts and writes it in one write.
pub fn save(terminal: &Terminal, next: impl FnOnce(&BootState) -> BootState) -> Result<()> {
    let boot = terminal.boot.open()?;
    let mut store = Store::load(boot.path());
    let current = store.state().cloned().unwrap_or_else(|| BootState {
        recovery: terminal.recovery.unwrap_or(BootState::factory().recovery),
        ..BootState::factory()
    });
    let next = next(&current);
    terminal.cut.point();
    store.save(&next)?;
    boot.close()?;
    terminal.cut.point();
    log::info!(
        "boot state: upgrade={} kind={} kernel={} recovery={} trial={} tries={} check={}",
        u8::from(next.upgrade),
        next.kind,
        next.kernel,
        next.recovery,
        u8::from(next.trial),
        next.tries,
        u8::from(next.check)
    );
    Ok(())
}
