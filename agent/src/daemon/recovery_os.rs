//! Steps of an upgrade of RecoveryOS; `engine` says when.

use dau_handoff::RecoveryRecord;
use dau_model::{Reason, Word};

use super::Daemon;
use crate::boot;
use crate::engine::kept;

impl Daemon {
    pub(super) fn recovery_record(&mut self) -> Option<&mut RecoveryRecord> {
        self.job.as_mut()?.recovery.as_mut()
    }

    /// Notes which RecoveryOS is in charge.
    pub(super) fn note_recovery(&mut self) -> bool {
        let in_charge = match boot::recovery_in_charge(&self.settings.boot) {
            Ok(Some(in_charge)) => in_charge,
            Ok(None) => return self.keep_recovery(refused(boot::BootError::NoState)),
            Err(error) => return self.keep_recovery(refused(error)),
        };
        if let Some(job) = &mut self.job {
            let version = in_charge.version.clone();
            job.recovery = Some(RecoveryRecord::new(in_charge.slot, version));
        }
        self.running.recovery = Some(in_charge);
        // What cannot be kept is noted anew at the next start.
        self.save_job();
        true
    }

    /// Asks for the check of the new RecoveryOS. The job is saved first, with the sequence that the
    /// boot state will have, so that every later start can tell how far the upgrade came.
    pub(super) fn ask_for_check(&mut self) -> bool {
        match self.try_to_ask() {
            Ok(()) => {
                log::info!("the new RecoveryOS is to be checked");
                self.reboot_for_job()
            }
            Err(reason) => self.keep_recovery(reason),
        }
    }

    fn try_to_ask(&mut self) -> Result<(), Reason> {
        let state = boot::read(&self.settings.boot)
            .map_err(refused)?
            .ok_or_else(|| refused(boot::BootError::NoState))?;
        if let Some(record) = self.recovery_record() {
            let next = Some(state.seq.wrapping_add(1));
            // One that was noted and not asked for, for want of power, is the same.
            if record.check_seq != next {
                record.check_seq = next;
                record.checks = record.checks.saturating_add(1);
            }
        }
        if !self.save_job() {
            let text = "the job's state cannot be kept";
            return Err(Reason::new(Word::Storage, text));
        }
        let Err(error) = boot::ask_for_check(&self.settings.boot) else {
            return Ok(());
        };
        // The write may have come through all the same: then it counts.
        let state = boot::read(&self.settings.boot).ok().flatten();
        match state.is_some_and(|state| state.check) {
            true => Ok(()),
            false => Err(refused(format!(
                "the check of the new RecoveryOS cannot be asked for: {error}"
            ))),
        }
    }

    /// Notes that the old RecoveryOS stays in charge and is to be put into the other slot too: a
    /// new one that does not work there would be worse than none, since the bootloader would trust
    /// its hashes.
    pub(super) fn keep_recovery(&mut self, reason: Reason) -> bool {
        log::error!("RecoveryOS stays as it is: {}", reason.message);
        if let Err(error) = boot::call_off_check(&self.settings.boot) {
            log::error!("the check cannot be called off: {error}");
        }
        let Some(job) = &mut self.job else {
            return false;
        };
        let Some(record) = &mut job.recovery else {
            let result = kept(job, &reason);
            return self.finish(result);
        };
        record.kept.get_or_insert(reason);
        // What was given up is not counted against the restoration.
        job.work = None;
        self.save_job();
        true
    }
}

fn refused(error: impl std::fmt::Display) -> Reason {
    Reason::new(Word::Boot, error.to_string())
}
