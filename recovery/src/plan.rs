//! Decides RecoveryOS's next action: a pure function of the facts. docs/recovery.md has the same as
//! a table, with the reasons and the effect of a power cut between any two writes.

use dau_boot_state::{BootState, Operation};
use dau_handoff::{Job, JobResult, MAX_FAILURES};
use dau_model::{Kind, Outcome, Reason, Slot, State, Word};
use dau_system::cmdline::BootReason;

mod action;
mod facts;

pub use action::{Plan, Rollback};
pub use facts::{Facts, JobFound, Package, Verdict};

/// Decides the next action.
pub fn plan(facts: &Facts) -> Plan {
    if let JobFound::Job(job) = &facts.job {
        if agents_own(job) {
            let without = Facts {
                job: JobFound::None,
                ..facts.clone()
            };
            return plan(&without);
        }
    }
    let Some(state) = &facts.state else {
        return without_state(facts);
    };
    if state.upgrade {
        return flagged(facts, state);
    }
    match facts.reason {
        Some(BootReason::KernelRefused) => back_from_normal_os(facts, state, true),
        // Even with tries left, as the bootloader cannot count them down.
        Some(BootReason::TrialEnded) if state.trial => back_from_normal_os(facts, state, false),
        _ if state.trial && state.tries == 0 => back_from_normal_os(facts, state, false),
        // The bootloader read something else than this program: write the state again.
        Some(BootReason::NoState | BootReason::Upgrade | BootReason::TrialEnded) => Plan::Rebuild {
            kernel: Some(state.kernel),
            trial: state.trial,
        },
        _ => Plan::Nothing,
    }
}

/// Plans for a set upgrade flag.
fn flagged(facts: &Facts, state: &BootState) -> Plan {
    let settle = |result| Plan::Settle {
        kernel: state.kernel,
        result,
    };
    let rollback = state.operation == Operation::Rollback;
    let job = match &facts.job {
        JobFound::Job(job) => job,
        JobFound::NoMnt if state.trial => return trial_again("mnt cannot be mounted"),
        JobFound::None if rollback || state.trial => return rollback_without_job(facts, None),
        // The root filesystem may be half written.
        JobFound::Lost if state.trial || state.operation != Operation::Install(Kind::Kernel) => {
            return rollback_without_job(facts, None)
        }
        JobFound::NoMnt | JobFound::None | JobFound::Lost => return settle(None),
    };
    match job.state() {
        State::Finished => finished(job, state),
        State::RollingBack => go_back(facts, Some(state), job, rollback_reason(job), None),
        State::Armed | State::Installing | State::Trial => {
            if rollback {
                let begun = state.trial || changed(job) || job.state() == State::Trial;
                return match begun {
                    true => go_back(facts, Some(state), job, rollback_reason(job), None),
                    false => settle(Some(failed(
                        Word::NothingToRollBack,
                        "a rollback was ordered, but nothing had been installed: order the upgrade again",
                    ))),
                };
            }
            if state.operation != Operation::Install(job.order.kind) {
                let message = format!(
                    "the upgrade flag says {}, the job {}: order the upgrade again",
                    state.operation, job.order.kind
                );
                let reason = Reason::new(Word::KindMismatch, message);
                return give_up(facts, state.kernel, job, Outcome::Refused, reason);
            }
            install(facts, Some(state), job)
        }
        _ => {
            // The agent arms only complete jobs, so a job in an earlier state is continued by the
            // agent, whoever set the flag.
            match state.trial && rollback {
                true => rollback_without_job(facts, None),
                false => settle(None),
            }
        }
    }
}

/// Installs the candidate, unless it is refused or has failed too often.
fn install(facts: &Facts, state: Option<&BootState>, job: &Job) -> Plan {
    let kernel = state
        .map(|state| state.kernel)
        .or_else(|| kernel_before(job))
        .unwrap_or(Slot::A);
    if job.attempts.failures >= MAX_FAILURES {
        let last = job.attempts.last_error.as_deref().unwrap_or("unknown");
        let message = format!(
            "given up after {} failures, the last one: {last}",
            job.attempts.failures
        );
        let reason = Reason::new(Word::InstallFailed, message);
        return give_up(facts, kernel, job, Outcome::Failed, reason);
    }
    match &facts.candidate {
        Verdict::Unknown => Plan::Judge(Package::Candidate),
        Verdict::Accepted => Plan::Install,
        Verdict::Refused(reason) => give_up(facts, kernel, job, Outcome::Refused, reason.clone()),
    }
}

/// Ends an uncommitted job: at once if the old OS is intact, else by reinstalling it.
fn give_up(facts: &Facts, kernel: Slot, job: &Job, outcome: Outcome, reason: Reason) -> Plan {
    if changed(job) {
        return go_back(facts, facts.state.as_ref(), job, reason, None);
    }
    Plan::Settle {
        kernel,
        result: Some(JobResult::new(outcome, reason)),
    }
}

/// Plans for a normal OS that did not boot: its tries are used up, or its kernel was refused.
fn back_from_normal_os(facts: &Facts, state: &BootState, refused: bool) -> Plan {
    let refused_slot = refused.then_some(state.kernel);
    let repair = Plan::RepairKernel {
        refused: state.kernel,
    };
    if !state.trial {
        return repair;
    }
    let reason = match refused {
        true => Reason::new(Word::KernelRefused, "the bootloader refused the new kernel"),
        false => Reason::new(
            Word::TrialEnded,
            "the new OS was not confirmed within its tries",
        ),
    };
    let job = match &facts.job {
        JobFound::Job(job) => job,
        JobFound::NoMnt if refused => return repair,
        JobFound::NoMnt => return trial_again("mnt cannot be mounted"),
        JobFound::None | JobFound::Lost => return rollback_without_job(facts, refused_slot),
    };
    match job.state() {
        State::Finished => match finished(job, state) {
            Plan::Settle { kernel, .. } if Some(kernel) == refused_slot => repair,
            settle => settle,
        },
        State::RollingBack => go_back(facts, Some(state), job, rollback_reason(job), refused_slot),
        State::Armed | State::Installing | State::Trial => {
            go_back(facts, Some(state), job, reason, refused_slot)
        }
        _ => rollback_without_job(facts, refused_slot),
    }
}

/// Plans for a missing boot state. U-Boot starts RecoveryOS until one is written.
fn without_state(facts: &Facts) -> Plan {
    let rebuild = |kernel, trial| Plan::Rebuild { kernel, trial };
    let job = match &facts.job {
        JobFound::Job(job) => job,
        // Nothing says that an OS was being replaced or that a backup is current: the existing OS
        // must prove itself.
        JobFound::Lost => return rebuild(None, true),
        JobFound::None | JobFound::NoMnt => return rebuild(None, false),
    };
    let before = kernel_before(job);
    match job.state() {
        State::Armed | State::Installing => install(facts, None, job),
        // Saved after the last write to rootfs: the new OS is complete, committed or not.
        State::Trial if job.order.kind == Kind::Rootfs => rebuild(before, true),
        State::Trial => rebuild(before.map(Slot::other), true),
        State::RollingBack => go_back(facts, None, job, rollback_reason(job), None),
        State::Finished if succeeded(job) && job.order.kind.has_kernel() => {
            rebuild(before.map(Slot::other), false)
        }
        State::Finished => rebuild(before, false),
        // The new OS was confirmed before.
        State::UpdatingRecovery => rebuild(before.map(Slot::other), false),
        _ => rebuild(None, false),
    }
}

/// Plans for a job that has its result, while the boot state was not updated because of a power
/// cut.
fn finished(job: &Job, state: &BootState) -> Plan {
    let kernel = match succeeded(job) {
        true => state.kernel,
        false => kernel_before(job).unwrap_or(state.kernel),
    };
    Plan::Settle {
        kernel,
        result: None,
    }
}

/// Reinstalls the previous packages, or does the next best if they are unusable.
fn go_back(
    facts: &Facts,
    state: Option<&BootState>,
    job: &Job,
    reason: Reason,
    refused: Option<Slot>,
) -> Plan {
    let on_trial = state.is_none_or(|state| state.trial || state.operation == Operation::Rollback);
    let rollback = |rootfs| {
        let outcome = match on_trial {
            true => Outcome::RolledBack,
            false => Outcome::Failed,
        };
        Plan::Rollback(Rollback {
            rootfs,
            kernel: kernel_before(job),
            refused,
            result: JobResult::new(outcome, reason.clone()),
        })
    };
    if job.order.kind == Kind::Kernel {
        return rollback(false);
    }
    let lost = match &facts.installed {
        Verdict::Unknown => return Plan::Judge(Package::Installed),
        Verdict::Accepted => return rollback(true),
        Verdict::Refused(lost) => lost,
    };
    let why = format!("the old OS cannot be put back: {}", lost.message);
    let whole = on_trial && !job.attempts.rollback_started;
    match state {
        // The agent that requested the rollback runs in the new OS: better than no OS.
        Some(state) if whole && state.upgrade => Plan::Settle {
            kernel: state.kernel,
            result: Some(failed(
                Word::RollbackImpossible,
                &format!("{reason}. {why}. The new OS was kept: order an upgrade"),
            )),
        },
        Some(_) if whole && refused.is_none() => trial_again(&why),
        _ => match &facts.candidate {
            Verdict::Unknown => Plan::Judge(Package::Candidate),
            Verdict::Accepted => Plan::Install,
            Verdict::Refused(new) => Plan::Stuck {
                why: format!("{why}. Nor can the new one be installed: {}", new.message),
            },
        },
    }
}

/// Reinstalls everything: the OS is unconfirmed and perhaps incomplete, and no job tells what was
/// changed.
fn rollback_without_job(facts: &Facts, refused: Option<Slot>) -> Plan {
    match &facts.installed {
        Verdict::Unknown => Plan::Judge(Package::Installed),
        Verdict::Accepted => Plan::Rollback(Rollback {
            rootfs: true,
            kernel: None,
            refused,
            result: JobResult::new(
                Outcome::RolledBack,
                Reason::new(
                    Word::RolledBack,
                    "the job that installed an OS is lost, and that OS was not confirmed",
                ),
            ),
        }),
        Verdict::Refused(reason) => match refused {
            Some(refused) => Plan::RepairKernel { refused },
            None => trial_again(&format!(
                "the old OS cannot be put back: {}",
                reason.message
            )),
        },
    }
}

fn trial_again(why: &str) -> Plan {
    Plan::TrialAgain {
        why: why.to_owned(),
    }
}

fn failed(word: Word, message: &str) -> JobResult {
    JobResult::new(Outcome::Failed, Reason::new(word, message))
}

/// Returns the reason for the rollback. The flag may request it while the job could not be written.
fn rollback_reason(job: &Job) -> Reason {
    let unknown = || Reason::new(Word::RolledBack, "a rollback was ordered");
    job.rollback_reason().cloned().unwrap_or_else(unknown)
}

fn succeeded(job: &Job) -> bool {
    job.result()
        .is_some_and(|result| result.outcome == Outcome::Success)
}

/// Returns whether the job has begun to change the old OS. The unused kernel slot does not belong
/// to it.
fn changed(job: &Job) -> bool {
    job.attempts.rootfs_touched
}

/// Tells whether the whole job is the agent's: RecoveryOS does not replace a RecoveryOS. Its result
/// is valid anyway, and does not concern the OS.
fn agents_own(job: &Job) -> bool {
    job.order.kind == Kind::Recovery
}

fn kernel_before(job: &Job) -> Option<Slot> {
    job.attempts.kernel_before
}

#[cfg(test)]
mod tests;
