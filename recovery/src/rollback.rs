//! The way back: installed.dau's root filesystem with the parameters as backed up, and the kernel slot that ran before.

use std::time::Instant;

use anyhow::Result;
use dau_boot_state::{BootState, Kind as Flag};
use dau_handoff::{JobResult, JobState};

use crate::plan::{Package, Rollback};
use crate::session::Session;
use crate::{commit, kernel, restore, rootfs};

/// Puts back what ran before, gives the job its result, trusts the old OS.
///
/// The result is written before the boot state: after a cut in between, the boot state still leads to RecoveryOS,
/// which finds the job ended and only clears the state. The normal OS never sees a rollback without its result.
pub fn run(session: &mut Session, rollback: &Rollback) -> Result<()> {
    let terminal = session.terminal;
    let result = &JobResult {
        log: session.keep_os_log(),
        ..rollback.result.clone()
    };
    log::warn!("rolling back: {}: {}", result.word, result.message);
    session.update_job(|job| {
        job.attempts.starts = job.attempts.starts.saturating_add(1);
        job.attempts.rollback_started |= rollback.rootfs;
        if !matches!(job.state, JobState::RollingBack { .. }) {
            job.state = JobState::RollingBack {
                reason: format!("{}: {}", result.word, result.message),
            };
        }
    })?;
    if !session.state.as_ref().is_none_or(leads_here) {
        // A kernel that was refused once might load the next time, and find half a root filesystem.
        commit::save(terminal, |state| state.armed(Flag::Rollback))?;
    }
    if rollback.rootfs {
        let started = Instant::now();
        let bytes = rootfs::write(terminal, session.accepted(Package::Installed)?)?;
        session.stage("rollback-write-rootfs", started, Some(bytes));
        let started = Instant::now();
        restore::restore(terminal, session.backup()?)?;
        session.stage("rollback-restore", started, None);
    }
    let boots = kernel::ensure_bootable(
        terminal,
        session.layout(),
        rollback.kernel,
        rollback.refused,
    )?;
    session.update_job(|job| job.finish(result.clone()))?;
    commit::save(terminal, |state| state.steady(boots))
}

/// Whether U-Boot starts RecoveryOS with this state, whatever happens.
fn leads_here(state: &BootState) -> bool {
    state.upgrade || (state.trial && state.tries == 0)
}
