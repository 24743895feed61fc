//! The rollback: installed.dau's root filesystem with the parameters from the backup, and the
//! previous kernel slot.

use std::time::Instant;

use anyhow::Result;
use dau_boot_state::{BootState, Operation};
use dau_handoff::JobResult;
use dau_model::{Reason, Word};

use crate::plan::{Package, Rollback};
use crate::restore::{self, Faults};
use crate::session::Session;
use crate::{boot, kernel, rootfs};

/// Reinstalls the previous OS, gives the job its result, trusts the old OS.
///
/// The result is written before the boot state: after a cut in between, the boot state still leads
/// to RecoveryOS, which finds the job ended and only clears the state. The normal OS never sees a
/// rollback without its result.
pub fn run(session: &mut Session, rollback: &Rollback) -> Result<()> {
    let terminal = session.terminal;
    let mut result = JobResult {
        log: session.keep_os_log(),
        ..rollback.result.clone()
    };
    log::warn!("rolling back: {}", result.reason);
    session.step_job(|job| {
        job.attempts.starts = job.attempts.starts.saturating_add(1);
        job.attempts.rollback_started |= rollback.rootfs;
        // A job of RecoveryOS alone, ended by the agent, stays ended.
        match job.result() {
            Some(_) => Ok(()),
            None => job.roll_back(result.reason.clone()),
        }
    })?;
    if !session.state.as_ref().is_none_or(leads_here) {
        // A kernel that was refused once might load the next time, with a half-written root
        // filesystem.
        boot::save(terminal, |state| state.armed(Operation::Rollback))?;
    }
    if rollback.rootfs {
        let started = Instant::now();
        let bytes = rootfs::write(terminal, session.accepted(Package::Installed)?)?;
        session.stage("rollback-write-rootfs", started, Some(bytes));
        let started = Instant::now();
        // No other OS is left: it starts without the parameters that cannot be restored, and says
        // so.
        let lacking = restore::restore(terminal, session.backup()?, Faults::LeaveOut)?;
        session.stage("rollback-restore", started, None);
        if let Some(lacking) = lacking {
            result = incomplete(&result, &lacking);
        }
    }
    let boots = kernel::ensure_bootable(
        terminal,
        session.layout(),
        rollback.kernel,
        rollback.refused,
    )?;
    session.update_job(|job| job.finish(result))?;
    Ok(boot::save(terminal, |state| state.steady(boots))?)
}

/// Returns a result that names the parameters missing in the old OS, which somebody must see to
/// first.
fn incomplete(result: &JobResult, lacking: &str) -> JobResult {
    let text = format!(
        "the old OS runs without parameters that could not be put back: {lacking}. Set them by \
         hand. The upgrade \
         ended because of {}",
        result.reason
    );
    JobResult {
        reason: Reason::new(Word::ParametersIncomplete, text),
        ..result.clone()
    }
}

/// Returns whether U-Boot always starts RecoveryOS with this state.
fn leads_here(state: &BootState) -> bool {
    state.upgrade || (state.trial && state.tries == 0)
}
