//! Leaving for RecoveryOS: the flag and the reboot.

use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use dau_boot_state::Operation;
use dau_model::Word;
use dau_system::durable;
use dau_system::volume::Volume;
use nix::sys::reboot::{reboot, RebootMode};

use super::{is_due, Daemon};
use crate::boot;
use crate::engine::MAX_REBOOTS;
use crate::failure::Failure;

/// Longest file with a number of reboots, in bytes.
const MAX_COUNT: u64 = 16;

/// Time for the last messages to leave before the system goes down.
const PARTING: Duration = Duration::from_millis(500);

impl Daemon {
    /// Sets the flag and reboots. Returns true if that failed and the job has ended for it; a
    /// rollback that failed is tried again later, as this OS is not to stay.
    pub(super) fn arm(&mut self, operation: Operation) -> bool {
        // Reboots that cannot be counted would have no end.
        let counted = match self.job {
            Some(_) => self.save_job(),
            None => self.count_rollback(),
        };
        if !counted {
            if operation == Operation::Rollback {
                log::error!(
                    "this OS is to be rolled back, but the reboot for it cannot be counted: it \
                     stays on trial until its tries are used up"
                );
                return self.retry_later();
            }
            let failure = Failure::storage("the job's state cannot be kept", "see the log");
            return self.finish(failure.result());
        }
        if let Err(error) = boot::arm(&self.settings.boot, operation) {
            // The write may have come through all the same: then the flag counts.
            let state = boot::read(&self.settings.boot).ok().flatten();
            if state.is_none_or(|state| !state.upgrade) {
                let text = format!("the upgrade flag cannot be set: {error}");
                log::error!("{text}");
                return match operation {
                    Operation::Rollback => self.retry_later(),
                    _ => self.finish(Failure::failed(Word::Boot, text).result()),
                };
            }
            log::warn!("the upgrade flag is set, but: {error}");
        }
        log::info!("the upgrade flag is set: {operation}");
        self.reboot_for_job()
    }

    /// Counts the reboot that rolls back an OS without a job. Returns false if it cannot be
    /// counted, or there were enough.
    fn count_rollback(&self) -> bool {
        let path = self.settings.layout.rollback_tries();
        let text = match durable::read(&path, MAX_COUNT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        };
        let counted = text.and_then(|text| {
            let count = String::from_utf8_lossy(&text).parse().unwrap_or(0_u32);
            let next = count.saturating_add(1);
            match count < MAX_REBOOTS {
                true => durable::write(&path, next.to_string().as_bytes(), 0o600),
                false => Err(io::Error::other(format!(
                    "{count} tries did not bring the old OS back: see RecoveryOS's log"
                ))),
            }
        });
        if let Err(error) = &counted {
            log::error!("{}: {error}", path.display());
        }
        counted.is_ok()
    }

    /// Reboots for the job, which counts it. Always returns false: nothing is done after it.
    pub(super) fn reboot_for_job(&mut self) -> bool {
        if let Some(job) = &mut self.job {
            job.reboots = job.reboots.saturating_add(1);
        }
        self.save_job();
        log::info!("rebooting");
        self.say_goodbye("reboot");
        self.save_clock();
        std::thread::sleep(PARTING);
        self.traffic.save();
        nix::unistd::sync();
        self.rebooting = true;
        self.timers = super::Timers {
            // A system that goes down slowly still has `force_after`.
            watchdog: self.timers.watchdog,
            ..super::Timers::default()
        };
        self.note_reboot();
        let reboot = &self.settings.reboot;
        self.timers.force_reboot = reboot
            .force_after
            .and_then(|after| Instant::now().checked_add(after));
        let [program, arguments @ ..] = reboot.command.as_slice() else {
            return false;
        };
        // Not waited for: whether it works shows in that the system goes down.
        if let Err(error) = Command::new(program).args(arguments).spawn() {
            log::error!("cannot run {program}: {error}");
        }
        false
    }

    /// Leaves a file beside the mount point of boot for init scripts, which need not leave the reboot
    /// to init then: busybox's waits two seconds for nothing (rootfs-overlay, S00dau-end).
    fn note_reboot(&self) {
        let Volume::Partition { mount_point, .. } = &self.settings.boot else {
            return;
        };
        if let Err(error) = std::fs::write(mount_point.with_file_name("reboot"), "") {
            log::debug!("init scripts do not see that this is a reboot: {error}");
        }
    }

    /// Reboots without asking the system, if it has not gone down in time.
    pub(super) fn await_reboot(&mut self) {
        if is_due(&mut self.timers.force_reboot, Instant::now()) {
            log::error!("the system does not go down: rebooting without asking it");
            nix::unistd::sync();
            let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
            log::error!("cannot reboot: {error}");
        }
    }
}
