//! Replacing RecoveryOS: the slot that is not in charge is written, the bootloader starts it once, and it takes charge by
//! itself. docs/adr/0006-recovery-os-takes-charge-itself.md has the reasons, `startup` what follows each power cut.

use dau_boot_state::Slot;
use dau_handoff::{JobResult, JobState, Kind, Outcome, RecoveryRecord};

use super::Daemon;
use crate::boot;
use crate::work::{Restore, Task, WriteRecovery};

impl Daemon {
    pub(super) fn updates_recovery(&self) -> bool {
        let state = self.job.as_ref().map(|job| &job.state);
        state == Some(&JobState::UpdatingRecovery)
    }

    /// The package is verified, and the OS in it (if any) confirmed.
    pub(super) fn begin_recovery(&mut self) {
        let found = boot::recovery_in_charge(&self.settings.boot);
        let in_charge = match found {
            Ok(Some(in_charge)) => in_charge,
            Ok(None) => return self.recovery_kept("boot", "no copy of the boot state is valid"),
            Err(error) => {
                let text = format!("the boot partition cannot be read: {error:#}");
                return self.recovery_kept("boot", &text);
            }
        };
        if let Some(job) = &mut self.job {
            job.recovery = Some(RecoveryRecord {
                slot_before: letter(in_charge.slot),
                version_before: in_charge.version.clone(),
                version_after: None,
                check_seq: None,
                checks: 0,
            });
        }
        self.running.recovery = Some(in_charge);
        // What cannot be kept is begun anew at the next start.
        self.enter_regardless(JobState::UpdatingRecovery);
        self.advance();
    }

    /// What is to be written, unless that is done.
    pub(super) fn write_recovery(&self) -> Option<Task> {
        let job = self.job.as_ref()?;
        let record = job.recovery.as_ref()?;
        if record.check_seq.is_some() {
            return None;
        }
        let layout = &self.settings.layout;
        Some(Task::WriteRecovery(WriteRecovery {
            package: match job.order.kind {
                Kind::Full => layout.installed(),
                _ => layout.candidate(),
            },
            manifest_sha256: job.manifest_sha256.clone().unwrap_or_default(),
            keyring: self.settings.keyring.clone(),
            boot: self.settings.boot.clone(),
            in_charge: Slot::from_letter(record.slot_before)?,
        }))
    }

    /// The job first: with the sequence that the boot state will have, every later start can tell how far things came.
    pub(super) fn ask_for_check(&mut self) {
        let state = match boot::read(&self.settings.boot) {
            Ok(Some(state)) => state,
            Ok(None) => {
                return self.keep_recovery("boot", "no copy of the boot state is valid".into())
            }
            Err(error) => return self.keep_recovery("boot", format!("{error:#}")),
        };
        if let Some(record) = self.job.as_mut().and_then(|job| job.recovery.as_mut()) {
            let next = Some(state.seq.wrapping_add(1));
            // One that was noted and not asked for, for want of power, is the same.
            if record.check_seq != next {
                record.check_seq = next;
                record.checks = record.checks.saturating_add(1);
            }
        }
        if !self.save_job() {
            return self.keep_recovery("storage", "the job's state cannot be kept".into());
        }
        if let Err(error) = boot::ask_for_check(&self.settings.boot) {
            let asked = boot::read(&self.settings.boot).ok().flatten();
            if !asked.is_some_and(|state| state.check) {
                let text =
                    format!("the check of the new RecoveryOS cannot be asked for: {error:#}");
                return self.keep_recovery("boot", text);
            }
        }
        log::info!("the new RecoveryOS is to be checked");
        self.reboot_for_job();
    }

    /// The new RecoveryOS took charge, or was in charge before.
    pub(super) fn recovery_in_charge(&mut self) {
        let Some(job) = &self.job else { return };
        let recovery = match &self.running.recovery {
            Some(recovery) => format!(
                "RecoveryOS {} is in charge, in slot {}",
                recovery.version.as_deref().unwrap_or("of unknown version"),
                recovery.slot
            ),
            None => "the new RecoveryOS is in charge".to_owned(),
        };
        let text = match job.order.kind {
            Kind::Recovery => recovery,
            _ => format!(
                "version {} runs and was confirmed; {recovery}",
                job.order.version
            ),
        };
        self.end_recovery(JobResult::new(Outcome::Success, "success", text));
    }

    /// The old RecoveryOS stays in charge, and is put into the other slot too: a new one that does not work there would be
    /// worse than none, since the bootloader would trust its hashes.
    pub(super) fn keep_recovery(&mut self, word: &str, message: String) {
        log::error!("RecoveryOS stays as it is: {message}");
        if let Err(error) = boot::call_off_check(&self.settings.boot) {
            log::error!("the check cannot be called off: {error:#}");
        }
        let record = self.job.as_ref().and_then(|job| job.recovery.as_ref());
        match record.and_then(|record| Slot::from_letter(record.slot_before)) {
            Some(in_charge) => self.work(Task::RestoreRecovery(Restore {
                boot: self.settings.boot.clone(),
                in_charge,
                spare: self.settings.layout.packages().join("recovery.part"),
                word: word.to_owned(),
                message,
            })),
            None => self.recovery_kept(word, &message),
        }
    }

    /// Nothing is left to do but to say so. An OS that was confirmed before is a success all the same.
    pub(super) fn recovery_kept(&mut self, word: &str, message: &str) {
        let Some(job) = &self.job else { return };
        let result = match job.order.kind {
            Kind::Recovery => JobResult::new(Outcome::Failed, word, message),
            _ => JobResult::new(
                Outcome::Success,
                "recovery-kept",
                format!(
                    "version {} runs and was confirmed, but RecoveryOS stays as it was: {word}: {message}",
                    job.order.version
                ),
            ),
        };
        self.end_recovery(result);
    }

    fn end_recovery(&mut self, result: JobResult) {
        if let Some(job) = &mut self.job {
            job.finish(result);
        }
        self.save_job();
        self.complete_report();
    }
}

fn letter(slot: Slot) -> char {
    match slot {
        Slot::A => 'a',
        Slot::B => 'b',
    }
}
