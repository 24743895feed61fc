//! The installation, in design order: kernel to the unused slot, root filesystem in place, parameters, commit.

use std::time::Instant;

use anyhow::{Context, Result};
use dau_boot_state::{Slot, DEFAULT_TRIES};
use dau_handoff::{JobState, Kind};

use crate::plan::Package;
use crate::session::Session;
use crate::{commit, kernel, restore, rootfs};

/// Writes what the job orders and commits. The candidate and the backup were judged and accepted.
///
/// Power may go at any instant: until the commit the boot state leads here again, and all of it is done anew, which
/// changes nothing that was done already.
pub fn run(session: &mut Session) -> Result<()> {
    let terminal = session.terminal;
    let before = kernel_before(session)?;
    session.update_job(|job| {
        job.attempts.starts = job.attempts.starts.saturating_add(1);
        job.attempts.kernel_before = Some(letter(before));
        job.state = JobState::Installing;
    })?;
    session.set_os_log_aside();
    let kind = session.job.as_ref().context("there is no job")?.order.kind;

    let mut boots = before;
    if matches!(kind, Kind::Kernel | Kind::Full) {
        let started = Instant::now();
        boots = before.other();
        let bytes = kernel::write(terminal, session.accepted(Package::Candidate)?, boots)?;
        session.stage("write-kernel", started, Some(bytes));
    }
    if matches!(kind, Kind::Rootfs | Kind::Full) {
        session.update_job(|job| job.attempts.rootfs_touched = true)?;
        let started = Instant::now();
        let bytes = rootfs::write(terminal, session.accepted(Package::Candidate)?)?;
        session.stage("write-rootfs", started, Some(bytes));
        let started = Instant::now();
        restore::restore(terminal, session.backup()?)?;
        session.stage("restore", started, None);
    }
    // Before the commit: an OS that is on trial finds its job there. After a cut in between, the flag leads here again.
    session.update_job(|job| job.state = JobState::Trial)?;
    commit::save(terminal, |state| state.committed(boots, DEFAULT_TRIES))?;
    log::info!("committed: kernel {boots} is on trial");
    Ok(())
}

/// The kernel slot that ran before the job and is not written to.
fn kernel_before(session: &Session) -> Result<Slot> {
    let noted = session
        .job
        .as_ref()
        .and_then(|job| job.attempts.kernel_before)
        .and_then(Slot::from_letter);
    match (noted, &session.state) {
        (Some(slot), _) => Ok(slot),
        (None, Some(state)) => Ok(state.kernel),
        (None, None) => kernel::ensure_bootable(session.terminal, session.layout(), None, None),
    }
}

fn letter(slot: Slot) -> char {
    match slot {
        Slot::A => 'a',
        Slot::B => 'b',
    }
}
