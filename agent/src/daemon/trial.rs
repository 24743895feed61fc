//! What follows a start: the job that was under way, and a new OS that is to prove itself.

use std::time::{Duration, Instant};

use dau_boot_state::Kind as BootKind;
use dau_handoff::{Job, JobResult, JobState, Kind, Outcome};

use super::Daemon;
use crate::boot;
use crate::ending::Ending;
use crate::health::{Health, Verdict};
use crate::promote::{brings_recovery, promote};
use crate::startup::{needs_boot_state, plan, Found, Plan};
use crate::work::Task;

/// Pause before a confirmation that did not work is tried again, health checks included.
const RETRY: Duration = Duration::from_secs(60);

impl Daemon {
    /// Takes up the job that was under way when the terminal went down.
    pub(super) fn take_up(&mut self) {
        let loaded = Job::load(&self.settings.layout.job());
        let lost = loaded.is_err();
        if let Err(error) = &loaded {
            log::error!("the job is lost: {error}");
            self.put_damaged_job_aside();
        }
        self.job = loaded.ok().flatten();
        let state = self.job.as_ref().map(|job| &job.state);
        let boot = match needs_boot_state(state, lost, self.command_line.reason) {
            true => boot::read(&self.settings.boot).unwrap_or_else(|error| {
                log::error!("cannot read the boot state: {error:#}");
                None
            }),
            false => None,
        };
        let found = Found {
            job: self
                .job
                .as_ref()
                .map(|job| (&job.state, boot_kind(job.order.kind))),
            boot: boot.as_ref(),
            runs_ordered: self.job.as_ref().is_some_and(|job| self.runs_ordered(job)),
            candidate: self.settings.layout.candidate().exists(),
            reboots: self.job.as_ref().map_or(0, |job| job.reboots),
            recovery: self.job.as_ref().and_then(|job| job.recovery.as_ref()),
            reason: self.command_line.reason,
        };
        let plan = plan(found);
        if let Some(job) = self.job.clone() {
            log::info!(
                "job {} was {}: {plan:?}",
                job.id,
                crate::report::state_name(&job.state)
            );
            self.set_start(&job);
        }
        self.follow(plan);
    }

    fn follow(&mut self, plan: Plan) {
        match plan {
            Plan::Idle => {}
            Plan::Resume => self.advance(),
            Plan::Arm(kind) => self.arm_with(kind),
            Plan::Reboot => self.reboot_for_job(),
            Plan::Trial => self.start_trial(),
            Plan::Confirmed => self.after_confirmation(None),
            Plan::Report => self.complete_report(),
            Plan::AskForCheck => self.ask_for_check(),
            Plan::RecoveryInCharge => self.recovery_in_charge(),
            Plan::RecoveryKept(word, message) => self.keep_recovery(word, message),
            Plan::Fail(ending) => {
                if let Err(error) = boot::settle(&self.settings.boot, self.command_line.kernel) {
                    log::error!("cannot clear the upgrade flag: {error:#}");
                }
                self.finish(ending.result());
            }
        }
    }

    /// A job that cannot be read would be reported as lost at every start.
    fn put_damaged_job_aside(&self) {
        let path = self.settings.layout.job();
        if let Err(error) = dau_system::durable::rename(&path, &path.with_extension("damaged")) {
            log::error!("cannot put {} aside: {error}", path.display());
        }
    }

    /// The version says nothing about a kernel alone; there the boot state must do.
    fn runs_ordered(&self, job: &Job) -> bool {
        job.order.kind == Kind::Kernel || job.order.version == self.running.release.version
    }

    pub(super) fn start_trial(&mut self) {
        log::info!("this OS is on trial");
        self.enter_regardless(JobState::Trial);
        let layout = &self.settings.layout;
        let job = self.job.as_ref();
        let rootfs = job.filter(|job| job.order.kind != Kind::Kernel);
        let versions = rootfs.map(|job| {
            let running = self.running.release.version.clone();
            (job.order.version.clone(), running)
        });
        let parameters = job.and_then(|job| {
            let digest = job.parameters.as_ref()?.digest.clone();
            Some((self.settings.root.clone(), layout.backup(job.id), digest))
        });
        let health = Health {
            settings: self.settings.health.clone(),
            link: self.link.watch(),
            versions,
            parameters,
            log: layout.logs().join("health.log"),
        };
        self.work(Task::Health(health));
    }

    /// The health checks are over.
    pub(super) fn judged(&mut self, verdict: Verdict, seconds: f64) {
        if let Some(job) = &mut self.job {
            job.stage("trial", seconds, None);
        }
        match verdict {
            Verdict::Healthy(digest) => self.confirm(digest),
            Verdict::Unhealthy(reason) => {
                self.enter_regardless(JobState::RollingBack { reason });
                self.arm_with(BootKind::Rollback);
            }
        }
    }

    /// The boot state first: from then on this OS stays, whatever happens to the rest.
    fn confirm(&mut self, digest: Option<String>) {
        if let Err(error) = boot::settle(&self.settings.boot, self.command_line.kernel) {
            // The trial goes on. If it never works, the tries are used up some day, and the old OS comes back.
            log::error!("this OS cannot be confirmed now: {error:#}");
            self.timers.retry = Some(Instant::now() + RETRY);
            return;
        }
        log::info!("this OS is confirmed");
        self.after_confirmation(digest);
    }

    fn after_confirmation(&mut self, digest: Option<String>) {
        let Some(job) = &self.job else { return };
        if let Err(error) = promote(&self.settings.layout, job.order.kind) {
            // Without it a later return would bring an older OS; the upgrade itself is done.
            log::error!("the package cannot be kept for a later return: {error}");
        }
        let layout = &self.settings.layout;
        if job.order.kind == Kind::Full && brings_recovery(&layout.installed()) {
            return self.begin_recovery();
        }
        let text = format!("version {} runs and was confirmed", job.order.version);
        let mut result = JobResult::new(Outcome::Success, "success", text);
        let digest_wanted = digest.is_none() && job.parameters.is_some();
        result.parameters_after = digest;
        if !digest_wanted {
            return self.finish(result);
        }
        if let Some(job) = &mut self.job {
            job.finish(result);
        }
        self.save_job();
        self.complete_report();
    }

    /// A job that has its result, but perhaps not the digest of the parameters as they are now.
    pub(super) fn complete_report(&mut self) {
        let Some(job) = &self.job else { return };
        let backup = self.settings.layout.backup(job.id);
        let known = job
            .result()
            .is_some_and(|result| result.parameters_after.is_some());
        if known || job.parameters.is_none() || !backup.exists() {
            return self.hand_in(None);
        }
        self.work(Task::Digest(self.settings.root.clone(), backup));
    }

    /// Sets the flag for what the job's order says.
    pub(super) fn arm(&mut self) {
        if let Some(job) = &self.job {
            self.arm_with(boot_kind(job.order.kind));
        }
    }

    fn arm_with(&mut self, kind: BootKind) {
        // Reboots that cannot be counted would have no end. The way back goes on all the same: RecoveryOS counts too.
        if !self.save_job() && kind != BootKind::Rollback {
            let ending = Ending::storage("the job's state cannot be kept", "see the log");
            return self.finish(ending.result());
        }
        if let Err(error) = boot::arm(&self.settings.boot, kind) {
            // The write may have come through all the same: then the flag counts.
            let state = boot::read(&self.settings.boot).ok().flatten();
            if state.is_none_or(|state| !state.upgrade) {
                let text = format!("the upgrade flag cannot be set: {error:#}");
                return self.finish(Ending::failed("boot", text).result());
            }
            log::warn!("the upgrade flag is set, but: {error:#}");
        }
        log::info!("the upgrade flag is set: {kind}");
        self.reboot_for_job();
    }
}

fn boot_kind(kind: Kind) -> BootKind {
    match kind {
        Kind::Kernel => BootKind::Kernel,
        Kind::Rootfs => BootKind::Rootfs,
        Kind::Full => BootKind::Full,
        // Needs no flag: RecoveryOS replaces no RecoveryOS.
        Kind::Recovery => BootKind::None,
    }
}
