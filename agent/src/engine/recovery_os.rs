//! Replacing RecoveryOS: the slot that is not in charge is written, the bootloader starts it once,
//! and it takes charge by itself (docs/adr/0006-recovery-os-takes-charge-itself.md).
//!
//! The job notes what it asks the bootloader for, with the sequence that the boot state then has,
//! before it does.

use dau_handoff::{Job, JobResult, Written};
use dau_model::{Kind, Outcome, Reason, Word};
use dau_system::cmdline::BootReason;

use super::install::MAX_REBOOTS;
use super::{Found, Step, Work};

/// Checks of one new RecoveryOS: the first one may have been hit by a power cut, which looks the
/// same.
const MAX_CHECKS: u32 = 2;

pub(super) fn plan(job: &Job, found: Found<'_>) -> Step {
    let Some(record) = &job.recovery else {
        return match found.boot {
            Some(_) => Step::NoteRecovery,
            None => {
                let text = "no copy of the boot state can be read";
                Step::KeepRecovery(Reason::new(Word::Boot, text))
            }
        };
    };
    // Whatever was noted since: what is in charge is not written over.
    let moved = found
        .boot
        .is_some_and(|boot| boot.recovery != record.slot_before);
    if moved && (record.kept.is_some() || record.check_seq.is_some()) {
        return Step::Finish(in_charge(job, found));
    }
    if let Some(reason) = &record.kept {
        return match record.restored {
            true => Step::Finish(kept(job, reason)),
            false => Step::Run(Work::RestoreRecovery),
        };
    }
    match (record.written, record.check_seq) {
        (Written::InCharge, _) => Step::Finish(in_charge(job, found)),
        (Written::No, None) => Step::Run(Work::WriteRecovery),
        (Written::Slot, None) => Step::AskForCheck,
        (_, Some(check_seq)) => asked(job, found, check_seq)
            .unwrap_or_else(|(word, text)| Step::KeepRecovery(Reason::new(word, text))),
    }
}

/// Returns the step after a check that was noted in the job. The error is why the old RecoveryOS
/// stays.
fn asked(job: &Job, found: Found<'_>, check_seq: u32) -> Result<Step, (Word, String)> {
    let wait_for_another_boot = || match job.reboots >= MAX_REBOOTS {
        true => Err((
            Word::CheckNotRun,
            "the bootloader does not start the new RecoveryOS: look at the console log and at \
             boot.scr"
                .to_owned(),
        )),
        false => Ok(Step::Reboot),
    };
    let (Some(record), Some(boot)) = (&job.recovery, found.boot) else {
        return wait_for_another_boot();
    };
    if boot.upgrade || boot.check {
        return wait_for_another_boot();
    }
    if boot.seq.wrapping_add(1) == check_seq {
        return Ok(Step::AskForCheck);
    }
    if found.reason == Some(BootReason::CheckRefused) {
        return Err((
            Word::RecoveryRefused,
            "the bootloader refused the new RecoveryOS: its image does not hold its hashes or does \
             not fit this machine"
                .to_owned(),
        ));
    }
    if record.checks < MAX_CHECKS {
        return Ok(Step::AskForCheck);
    }
    Err((
        Word::RecoveryNotProven,
        format!(
            "the new RecoveryOS was started {} times and did not prove itself: see the console and \
             its newest log on mnt",
            record.checks
        ),
    ))
}

/// Returns the result where the new RecoveryOS took charge, or was in charge before.
fn in_charge(job: &Job, found: Found<'_>) -> JobResult {
    let recovery = match found.recovery {
        Some(recovery) => format!(
            "RecoveryOS {} is in charge, in slot {}",
            recovery.version.as_deref().unwrap_or("of unknown version"),
            recovery.slot
        ),
        None => "the new RecoveryOS is in charge".to_owned(),
    };
    JobResult::success(match job.order.kind {
        Kind::Recovery => recovery,
        _ => format!(
            "version {} runs and was confirmed; {recovery}",
            job.order.version
        ),
    })
}

/// Returns the result where the old RecoveryOS stays. An OS that was confirmed before is a success
/// all the same.
pub fn kept(job: &Job, reason: &Reason) -> JobResult {
    match job.order.kind {
        Kind::Recovery => JobResult::new(Outcome::Failed, reason.clone()),
        _ => {
            let text = format!(
                "version {} runs and was confirmed, but RecoveryOS stays as it was: {reason}",
                job.order.version
            );
            JobResult::new(Outcome::Success, Reason::new(Word::RecoveryKept, text))
        }
    }
}
