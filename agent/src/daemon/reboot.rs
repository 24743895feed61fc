//! Leaving for RecoveryOS.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::reboot::{reboot, RebootMode};

use super::{is_due, Daemon};

/// What is handed over gets so much time to leave before the system goes down.
const PARTING: Duration = Duration::from_millis(500);

impl Daemon {
    /// Reboots for the sake of the job, which counts it.
    pub(super) fn reboot_for_job(&mut self) {
        if let Some(job) = &mut self.job {
            job.reboots = job.reboots.saturating_add(1);
        }
        self.save_job();
        log::info!("rebooting");
        self.say_goodbye("reboot");
        self.save_clock();
        std::thread::sleep(PARTING);
        nix::unistd::sync();
        self.rebooting = true;
        self.timers = super::Timers {
            // A system that goes down slowly still has `force_after`.
            watchdog: self.timers.watchdog,
            ..super::Timers::default()
        };
        let reboot = &self.settings.reboot;
        self.timers.force_reboot = reboot.force_after.map(|after| Instant::now() + after);
        let [program, arguments @ ..] = reboot.command.as_slice() else {
            return;
        };
        // Not waited for: whether it works shows in that the system goes down.
        if let Err(error) = Command::new(program).args(arguments).spawn() {
            log::error!("cannot run {program}: {error}");
        }
    }

    /// The system does not go down: in the end it is not asked any more.
    pub(super) fn await_reboot(&mut self) {
        if is_due(&mut self.timers.force_reboot, Instant::now()) {
            log::error!("the system does not go down: rebooting without asking it");
            nix::unistd::sync();
            let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
            log::error!("cannot reboot: {error}");
        }
    }
}
