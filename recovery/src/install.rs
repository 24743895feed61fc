//! The installation in its order: kernel to the unused slot, root filesystem in place, parameters,
//! commit.

use std::time::Instant;

use anyhow::{Context, Result};
use dau_boot_state::DEFAULT_TRIES;
use dau_model::{Slot, State};

use crate::plan::Package;
use crate::restore::{self, Faults};
use crate::session::Session;
use crate::{boot, kernel, rootfs};

/// Installs the job's parts and commits. Candidate and backup must have been accepted.
///
/// Power may be cut at any instant: until the commit the boot state leads here again, and
/// everything is repeated, which changes nothing that was done already.
pub fn run(session: &mut Session) -> Result<()> {
    let terminal = session.terminal;
    // Installed because the old OS is half overwritten and cannot be reinstalled.
    let last_resort = (session.job.as_ref()).is_some_and(|job| job.attempts.rollback_started);
    let faults = match last_resort {
        true => Faults::LeaveOut,
        false => Faults::Fail,
    };
    let before = kernel_before(session)?;
    session.step_job(|job| {
        job.attempts.starts = job.attempts.starts.saturating_add(1);
        job.attempts.kernel_before = Some(before);
        job.enter(State::Installing)
    })?;
    session.set_os_log_aside();
    let kind = session.job.as_ref().context("there is no job")?.order.kind;

    let mut boots = before;
    if kind.has_kernel() {
        let started = Instant::now();
        boots = before.other();
        let bytes = kernel::write(terminal, session.accepted(Package::Candidate)?, boots)?;
        session.stage("write-kernel", started, Some(bytes));
    }
    if kind.has_rootfs() {
        session.update_job(|job| job.attempts.rootfs_touched = true)?;
        let started = Instant::now();
        let bytes = rootfs::write(terminal, session.accepted(Package::Candidate)?)?;
        session.stage("write-rootfs", started, Some(bytes));
        let started = Instant::now();
        restore::restore(terminal, session.backup()?, faults)?;
        session.stage("restore", started, None);
    }
    // Before the commit, so that an OS on trial finds its job there. After a cut in between, the
    // flag leads here again.
    session.step_job(|job| {
        // The new OS is intact again: an impossible rollback ends there, instead of leading here
        // again.
        job.attempts.rollback_started = false;
        job.enter(State::Trial)
    })?;
    boot::save(terminal, |state| state.committed(boots, DEFAULT_TRIES))?;
    log::info!("committed: kernel {boots} is on trial");
    Ok(())
}

/// Returns the kernel slot that ran before the job, which is not written to.
fn kernel_before(session: &Session) -> Result<Slot> {
    let noted = session
        .job
        .as_ref()
        .and_then(|job| job.attempts.kernel_before);
    match (noted, &session.state) {
        (Some(slot), _) => Ok(slot),
        (None, Some(state)) => Ok(state.kernel),
        (None, None) => kernel::ensure_bootable(session.terminal, session.layout(), None, None),
    }
}
