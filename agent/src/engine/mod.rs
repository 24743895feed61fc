//! Decides what happens next: a pure function of the job and of what is on disk, the same after
//! every task and after a restart. docs/adr/0023-one-engine-in-the-agent.md has the reasons,
//! docs/architecture.md the table.
//!
//! The daemon notes what a task found in the job or in the boot state, saves that, asks [`plan`],
//! and follows the [`Step`]. The job file is always written before the boot state, so the two
//! together tell how far things came.

use dau_boot_state::{BootState, Operation};
use dau_handoff::{Job, JobResult, TransitionError};
use dau_model::{Reason, State};
use dau_system::cmdline::BootReason;

use crate::boot::InCharge;
use crate::failure::Failure;

mod install;
mod prepare;
mod recovery_os;

/// The job and what was found on disk.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The current job.
    pub job: Option<&'a Job>,
    /// The result kept of an earlier job with this id: its job file could not be removed.
    pub known: Option<&'a JobResult>,
    /// Seconds since 1970-01-01 UTC.
    pub now: u64,
    /// The job's start is still to come.
    pub waits: bool,
    /// The job's download.
    pub part: Part,
    /// The verified package is where RecoveryOS looks for it.
    pub candidate: bool,
    /// The job's backup of the parameters is there.
    pub backup: bool,
    /// The boot state that counts; `None`: no copy can be read, or it was not looked at.
    pub boot: Option<&'a BootState>,
    /// The running OS is the one that was ordered, as far as can be told.
    pub runs_ordered: bool,
    /// The RecoveryOS in charge, as far as is known.
    pub recovery: Option<&'a InCharge>,
    /// Why the bootloader started this OS.
    pub reason: Option<BootReason>,
}

/// The part of a package that was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Nothing, or it became the candidate.
    None,
    /// Some of it, or all of it and that was not noted.
    Begun,
    /// All of it.
    Whole,
    /// All of it, verified: a delta, of which the candidate is to be made.
    Delta,
}

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing, until something happens.
    Rest,
    /// The job moves on to this state. The next step is asked for at once.
    Enter(State),
    /// Start this task.
    Run(Work),
    /// Set the flag with this operation, and reboot.
    Arm(Operation),
    /// The flag is set, or the bootloader has still to look: reboot.
    Reboot,
    /// The new OS was confirmed: its package is kept for the way back; then see [`confirmed`].
    Confirmed,
    /// Note which RecoveryOS is in charge before the other slot is touched.
    NoteRecovery,
    /// Ask the bootloader to check the new RecoveryOS, and reboot.
    AskForCheck,
    /// The old RecoveryOS stays in charge.
    KeepRecovery(Reason),
    /// Clear the flag and end the job.
    GiveUp(Failure),
    /// The job has its result.
    Finish(JobResult),
    /// Report the result: the outbox keeps it until the station has taken note.
    MoveToOutbox,
}

/// The work of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Download,
    Verify,
    /// The candidate is made of a delta.
    Rebuild,
    Backup,
    /// A new OS is to prove itself.
    Health,
    WriteRecovery,
    /// The RecoveryOS in charge goes into the other slot too.
    RestoreRecovery,
    /// The parameters as they are after the job.
    Digest,
}

/// Returns whether the boot state is needed to go on; otherwise the boot partition stays unmounted.
/// `lost`: there was a job, and it cannot be read.
pub fn needs_boot_state(job: Option<State>, lost: bool, reason: Option<BootReason>) -> bool {
    let installing = matches!(
        job,
        Some(
            State::Armed
                | State::Installing
                | State::Trial
                | State::UpdatingRecovery
                | State::RollingBack
        )
    );
    installing || lost || reason == Some(BootReason::Trial)
}

/// Returns the next step.
pub fn plan(found: Found<'_>) -> Step {
    let Some(job) = found.job else {
        return match found.boot.is_some_and(|boot| boot.trial) {
            true => Step::Run(Work::Health),
            false => Step::Rest,
        };
    };
    match (job.state(), found.known) {
        (State::Finished, _) => finished(job, found),
        (_, Some(result)) => Step::Finish(result.clone()),
        (state, None) if state.is_preparing() => prepare::plan(job, found),
        (State::UpdatingRecovery, None) => recovery_os::plan(job, found),
        (_, None) => install::plan(job, found),
    }
}

/// Returns the step after a task that failed.
pub fn failed(job: Option<&Job>, failure: Failure) -> Step {
    match job.map(Job::state) {
        Some(State::UpdatingRecovery) => Step::KeepRecovery(failure.reason),
        _ => Step::Finish(failure.result()),
    }
}

/// Moves a job on. What an earlier round noted of the package and the parameters counts no more.
pub fn enter(job: &mut Job, state: State) -> Result<(), TransitionError> {
    job.enter(state)?;
    if state == State::Downloading {
        job.manifest_sha256 = None;
    }
    if matches!(state, State::Downloading | State::BackingUp) {
        job.parameters = None;
    }
    Ok(())
}

pub use install::{confirmed, MAX_REBOOTS};
pub use recovery_os::kept;

/// Completes the result with the digest of the parameters after the job, where that can still be
/// told.
fn finished(job: &Job, found: Found<'_>) -> Step {
    let told = |result: &JobResult| result.parameters_after.is_some();
    let told = job.result().is_some_and(told);
    match !told && job.parameters.is_some() && found.backup {
        true => Step::Run(Work::Digest),
        false => Step::MoveToOutbox,
    }
}

#[cfg(test)]
mod tests;
