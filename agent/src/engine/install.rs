//! From the flag to the confirmation or the way back: the boot state tells what RecoveryOS and
//! bootloader have done.

use dau_boot_state::Operation;
use dau_handoff::{Job, JobResult};
use dau_model::{Kind, Outcome, Reason, State, Word};

use super::{Found, Step, Work};
use crate::failure::Failure;

/// Reboots for the sake of one job after which RecoveryOS counts as unreachable.
pub const MAX_REBOOTS: u32 = 3;

pub(super) fn plan(job: &Job, found: Found<'_>) -> Step {
    let given_up = job.reboots >= MAX_REBOOTS;
    let arm = |operation| match given_up {
        true => unreachable(job.reboots),
        false => Step::Arm(operation),
    };
    let Some(boot) = found.boot else {
        return without_boot_state(job);
    };
    match job.state() {
        _ if boot.upgrade && given_up => unreachable(job.reboots),
        _ if boot.upgrade => Step::Reboot,
        State::RollingBack if boot.trial => arm(Operation::Rollback),
        State::RollingBack => rolled_back(job, found),
        State::Trial if boot.trial => Step::Run(Work::Health),
        _ if boot.trial => Step::Enter(State::Trial),
        State::Trial if found.runs_ordered => Step::Confirmed,
        State::Trial => Step::GiveUp(Failure::failed(
            Word::NotRunning,
            "the new OS was installed, but another one runs: look at RecoveryOS's log on mnt",
        )),
        // The flag was never set, or RecoveryOS had to write a new boot state before it changed
        // anything.
        _ if found.candidate => arm(Operation::Install(job.order.kind)),
        _ => Step::GiveUp(Failure::failed(
            Word::PackageLost,
            "the verified package is gone from mnt: order the upgrade again",
        )),
    }
}

/// Returns the step where no copy of the boot state is valid or can be read: the bootloader then
/// leads to RecoveryOS, which goes on with the job and writes a new state.
fn without_boot_state(job: &Job) -> Step {
    match job.state() {
        // It runs, so RecoveryOS is done with it; the confirmation writes a new state.
        State::Trial => Step::Run(Work::Health),
        // The flag was never set: nothing is lost yet, and no outage is risked for it.
        State::Armed if job.reboots == 0 => Step::Finish(
            Failure::failed(
                Word::Boot,
                "no copy of the boot state can be read: reboot once, RecoveryOS rebuilds it, \
                 then order again",
            )
            .result(),
        ),
        _ if job.reboots >= MAX_REBOOTS => unreachable(job.reboots),
        _ => Step::Reboot,
    }
}

/// Returns the step of a rollback where the flag is clear and nothing is on trial: either
/// RecoveryOS put the old OS back and could not say so, or the flag for that was never set.
fn rolled_back(job: &Job, found: Found<'_>) -> Step {
    if found.runs_ordered && job.reboots < MAX_REBOOTS {
        return Step::Arm(Operation::Rollback);
    }
    let unknown = || Reason::new(Word::RolledBack, "the new OS was taken back");
    Step::GiveUp(Failure {
        outcome: Outcome::RolledBack,
        reason: job.rollback_reason().cloned().unwrap_or_else(unknown),
    })
}

fn unreachable(reboots: u32) -> Step {
    Step::GiveUp(Failure::failed(
        Word::RecoveryUnreachable,
        format!(
            "after {reboots} reboots RecoveryOS still does not do its work: look at the console \
             log, and at recovery-a.itb and recovery-b.itb on the partition boot"
        ),
    ))
}

/// Returns the step after [`Step::Confirmed`]; `brings_recovery`: the package that runs holds a
/// RecoveryOS.
pub fn confirmed(job: &Job, brings_recovery: bool) -> Step {
    if job.order.kind == Kind::Full && brings_recovery {
        return Step::Enter(State::UpdatingRecovery);
    }
    let text = format!("version {} runs and was confirmed", job.order.version);
    Step::Finish(JobResult::success(text))
}
