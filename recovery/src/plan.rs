//! What RecoveryOS does next: a pure function of what it found. docs/recovery.md has the same as a table, with the
//! reasons and what a power cut between any two writes leads to.

use dau_boot_state::{BootState, Kind as Flag, Slot};
use dau_handoff::{Job, JobResult, JobState, Kind, Outcome, MAX_FAILURES};
use dau_system::cmdline::BootReason;

mod action;
mod facts;

pub use action::{Plan, Rollback};
pub use facts::{Facts, JobFound, Package, Verdict};

/// Decides what to do next.
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
        // Also with tries left: the bootloader cannot count them down.
        Some(BootReason::TrialEnded) if state.trial => back_from_normal_os(facts, state, false),
        _ if state.trial && state.tries == 0 => back_from_normal_os(facts, state, false),
        // The bootloader reads something else than what is read here: write it anew.
        Some(BootReason::NoState | BootReason::Upgrade | BootReason::TrialEnded) => Plan::Rebuild {
            kernel: Some(state.kernel),
            trial: state.trial,
        },
        _ => Plan::Nothing,
    }
}

/// The upgrade flag is set.
fn flagged(facts: &Facts, state: &BootState) -> Plan {
    let settle = |result| Plan::Settle {
        kernel: state.kernel,
        result,
    };
    let rollback = state.kind == Flag::Rollback;
    let job = match &facts.job {
        JobFound::Job(job) => job,
        JobFound::NoMnt if state.trial => return trial_again("mnt cannot be mounted"),
        JobFound::None if rollback || state.trial => return rollback_without_job(facts, None),
        // The root filesystem may be half written.
        JobFound::Lost if state.trial || state.kind != Flag::Kernel => {
            return rollback_without_job(facts, None)
        }
        JobFound::NoMnt | JobFound::None | JobFound::Lost => return settle(None),
    };
    match &job.state {
        JobState::Finished { .. } => finished(job, state),
        JobState::RollingBack { reason } => go_back(facts, Some(state), job, reason, None),
        JobState::UpdatingRecovery
        | JobState::Accepted
        | JobState::Downloading
        | JobState::Verifying
        | JobState::BackingUp => {
            // The agent arms only what is ready: whoever set the flag, the agent goes on with the job.
            match state.trial && rollback {
                true => rollback_without_job(facts, None),
                false => settle(None),
            }
        }
        JobState::Armed | JobState::Installing | JobState::Trial => {
            if rollback {
                let begun = state.trial || changed(job) || job.state == JobState::Trial;
                return match begun {
                    true => go_back(facts, Some(state), job, "a rollback was ordered", None),
                    false => settle(Some(JobResult::new(
                        Outcome::Failed,
                        "nothing-to-roll-back",
                        "a rollback was ordered, but nothing had been installed: order the upgrade again",
                    ))),
                };
            }
            if state.kind != flag_of(job.order.kind) {
                let message = format!(
                    "the upgrade flag says {}, the job {}: order the upgrade again",
                    state.kind, job.order.kind
                );
                return give_up(
                    facts,
                    state.kernel,
                    job,
                    Outcome::Refused,
                    "kind-mismatch",
                    &message,
                );
            }
            install(facts, Some(state), job)
        }
    }
}

/// Installs the candidate, unless that is refused or has failed too often.
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
        return give_up(
            facts,
            kernel,
            job,
            Outcome::Failed,
            "install-failed",
            &message,
        );
    }
    match &facts.candidate {
        Verdict::Unknown => Plan::Judge(Package::Candidate),
        Verdict::Accepted => Plan::Install,
        Verdict::Refused { word, message } => {
            give_up(facts, kernel, job, Outcome::Refused, word, message)
        }
    }
}

/// Ends a job that is not committed: by a word where the old OS is whole, by putting it back where it is not.
fn give_up(
    facts: &Facts,
    kernel: Slot,
    job: &Job,
    outcome: Outcome,
    word: &str,
    message: &str,
) -> Plan {
    if changed(job) {
        let reason = format!("{word}: {message}");
        return go_back(facts, facts.state.as_ref(), job, &reason, None);
    }
    Plan::Settle {
        kernel,
        result: Some(JobResult::new(outcome, word, message)),
    }
}

/// U-Boot came back from a normal OS: its tries are used up, or its kernel was refused.
fn back_from_normal_os(facts: &Facts, state: &BootState, refused: bool) -> Plan {
    let refused_slot = refused.then_some(state.kernel);
    let repair = Plan::RepairKernel {
        refused: state.kernel,
    };
    if !state.trial {
        return repair;
    }
    let reason = match refused {
        true => "kernel-refused: the bootloader refused the new kernel",
        false => "trial-ended: the new OS was not confirmed within its tries",
    };
    let job = match &facts.job {
        JobFound::Job(job) => job,
        JobFound::NoMnt if refused => return repair,
        JobFound::NoMnt => return trial_again("mnt cannot be mounted"),
        JobFound::None | JobFound::Lost => return rollback_without_job(facts, refused_slot),
    };
    match &job.state {
        JobState::Finished { .. } => match finished(job, state) {
            Plan::Settle { kernel, .. } if Some(kernel) == refused_slot => repair,
            settle => settle,
        },
        JobState::RollingBack { reason } => go_back(facts, Some(state), job, reason, refused_slot),
        JobState::Armed | JobState::Installing | JobState::Trial => {
            go_back(facts, Some(state), job, reason, refused_slot)
        }
        JobState::UpdatingRecovery
        | JobState::Accepted
        | JobState::Downloading
        | JobState::Verifying
        | JobState::BackingUp => rollback_without_job(facts, refused_slot),
    }
}

/// Neither copy of the boot state is valid. U-Boot leads to RecoveryOS until one is written.
fn without_state(facts: &Facts) -> Plan {
    let rebuild = |kernel, trial| Plan::Rebuild { kernel, trial };
    let job = match &facts.job {
        JobFound::Job(job) => job,
        // Nothing says that an OS was being replaced, nor that a backup is of today: the OS that is there has to show what it is.
        JobFound::Lost => return rebuild(None, true),
        JobFound::None | JobFound::NoMnt => return rebuild(None, false),
    };
    let before = kernel_before(job);
    match &job.state {
        JobState::Armed | JobState::Installing => install(facts, None, job),
        // Saved after the last write to rootfs: the new OS is whole, committed or not.
        JobState::Trial if job.order.kind == Kind::Rootfs => rebuild(before, true),
        JobState::Trial => rebuild(before.map(Slot::other), true),
        JobState::RollingBack { reason } => go_back(facts, None, job, reason, None),
        JobState::Finished { result, .. } => match result.outcome {
            Outcome::Success if job.order.kind == Kind::Rootfs => rebuild(before, false),
            Outcome::Success => rebuild(before.map(Slot::other), false),
            _ => rebuild(before, false),
        },
        // The new OS was confirmed before.
        JobState::UpdatingRecovery => rebuild(before.map(Slot::other), false),
        JobState::Accepted | JobState::Downloading | JobState::Verifying | JobState::BackingUp => {
            rebuild(None, false)
        }
    }
}

/// The job has its result, but power went before the boot state followed it.
fn finished(job: &Job, state: &BootState) -> Plan {
    let success = job
        .result()
        .is_some_and(|result| result.outcome == Outcome::Success);
    let kernel = match success {
        true => state.kernel,
        false => kernel_before(job).unwrap_or(state.kernel),
    };
    Plan::Settle {
        kernel,
        result: None,
    }
}

/// Puts back what was installed before; where that cannot be had, the next best.
fn go_back(
    facts: &Facts,
    state: Option<&BootState>,
    job: &Job,
    reason: &str,
    refused: Option<Slot>,
) -> Plan {
    let on_trial = state.is_none_or(|state| state.trial || state.kind == Flag::Rollback);
    let rollback = |rootfs| {
        let outcome = match on_trial {
            true => Outcome::RolledBack,
            false => Outcome::Failed,
        };
        Plan::Rollback(Rollback {
            rootfs,
            kernel: kernel_before(job),
            refused,
            result: result_of(outcome, reason),
        })
    };
    if job.order.kind == Kind::Kernel {
        return rollback(false);
    }
    let lost = match &facts.installed {
        Verdict::Unknown => return Plan::Judge(Package::Installed),
        Verdict::Accepted => return rollback(true),
        Verdict::Refused { message, .. } => message,
    };
    let why = format!("the old OS cannot be put back: {lost}");
    let whole = on_trial && !job.attempts.rollback_started;
    match state {
        // The agent that asked for the rollback runs in the new OS: better than none.
        Some(state) if whole && state.upgrade => Plan::Settle {
            kernel: state.kernel,
            result: Some(JobResult::new(
                Outcome::Failed,
                "rollback-impossible",
                format!("{reason}. {why}. The new OS was kept: order an upgrade"),
            )),
        },
        Some(_) if whole && refused.is_none() => trial_again(&why),
        _ => match &facts.candidate {
            Verdict::Unknown => Plan::Judge(Package::Candidate),
            Verdict::Accepted => Plan::Install,
            Verdict::Refused { message, .. } => Plan::Stuck {
                why: format!("{why}. Nor can the new one be installed: {message}"),
            },
        },
    }
}

/// An OS that was not confirmed or perhaps not written to its end, and no job that tells what was changed: all is put back.
fn rollback_without_job(facts: &Facts, refused: Option<Slot>) -> Plan {
    match &facts.installed {
        Verdict::Unknown => Plan::Judge(Package::Installed),
        Verdict::Accepted => Plan::Rollback(Rollback {
            rootfs: true,
            kernel: None,
            refused,
            result: result_of(
                Outcome::RolledBack,
                "rolled-back: the job that installed an OS is lost, and that OS was not confirmed",
            ),
        }),
        Verdict::Refused { message, .. } => match refused {
            Some(refused) => Plan::RepairKernel { refused },
            None => trial_again(&format!("the old OS cannot be put back: {message}")),
        },
    }
}

fn trial_again(why: &str) -> Plan {
    Plan::TrialAgain {
        why: why.to_owned(),
    }
}

/// A reason may begin with a word for machines: `word: what happened`.
fn result_of(outcome: Outcome, reason: &str) -> JobResult {
    let plain = |word: &str| {
        let of_words = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !word.is_empty() && word.bytes().all(of_words)
    };
    match reason.split_once(": ").filter(|(word, _)| plain(word)) {
        Some((word, message)) => JobResult::new(outcome, word, message),
        None => JobResult::new(outcome, outcome.word(), reason),
    }
}

/// Whether the job has begun to change what the old OS is made of. The unused kernel slot is no part of that.
fn changed(job: &Job) -> bool {
    job.attempts.rootfs_touched
}

/// Whether the agent does all of this job itself: RecoveryOS replaces no RecoveryOS. A result that it has stands all the same,
/// and nothing of the OS hangs on it.
fn agents_own(job: &Job) -> bool {
    job.order.kind == Kind::Recovery
}

fn kernel_before(job: &Job) -> Option<Slot> {
    job.attempts.kernel_before.and_then(Slot::from_letter)
}

fn flag_of(kind: Kind) -> Flag {
    match kind {
        Kind::Kernel => Flag::Kernel,
        Kind::Rootfs => Flag::Rootfs,
        Kind::Full => Flag::Full,
        Kind::Recovery => Flag::None,
    }
}

#[cfg(test)]
mod tests;
