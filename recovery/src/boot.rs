//! Reads and changes the boot state.

use dau_boot_state::access::{self, AccessError};
use dau_boot_state::BootState;

use crate::terminal::Terminal;

/// Reads the valid state; `None` if no copy is valid.
pub fn load(terminal: &Terminal) -> Result<Option<BootState>, AccessError> {
    access::read(&terminal.boot)
}

/// Derives the next state from the valid one and writes it in one write. If no copy is valid, it is
/// derived from the factory's, with the running RecoveryOS in charge.
pub fn save(
    terminal: &Terminal,
    next: impl FnOnce(&BootState) -> BootState,
) -> Result<(), AccessError> {
    let fresh = || BootState {
        recovery: terminal.recovery.unwrap_or(BootState::factory().recovery),
        ..BootState::factory()
    };
    let state = access::change(&terminal.boot, |current| {
        let next = next(&current.cloned().unwrap_or_else(fresh));
        terminal.failpoint.hit();
        Ok::<_, AccessError>(Some(next))
    })?;
    terminal.failpoint.hit();
    if let Some(state) = state {
        log::info!(
            "boot state: upgrade={} kind={} kernel={} recovery={} trial={} tries={} check={}",
            u8::from(state.upgrade),
            state.operation,
            state.kernel,
            state.recovery,
            u8::from(state.trial),
            state.tries,
            u8::from(state.check)
        );
    }
    Ok(())
}
