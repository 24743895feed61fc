//! Asks the engine for the next step and follows it: after a start, after each task, and at timers.

use std::time::{Duration, Instant};

use dau_boot_state::BootState;
use dau_handoff::{Job, TransitionError};
use dau_model::{Kind, Reason, State};
use dau_protocol::MAX_POLICY;
use dau_system::clock;
use rumqttc::QoS;

use super::Daemon;
use crate::boot;
use crate::engine::{self, confirmed, needs_boot_state, plan, Found, Part, Step};
use crate::failure::Failure;
use crate::promote::{brings_recovery, kept, promote};
use crate::tasks::download::Partial;

impl Daemon {
    /// Takes up the job that was under way when the terminal went down.
    pub(super) fn take_up(&mut self) {
        let layout = &self.settings.layout;
        match Job::load(&layout.job()) {
            Ok(job) => self.job = job,
            Err(error) => {
                log::error!("the job is lost: {error}");
                self.lost = true;
                // It would be reported as lost at every start.
                let aside = dau_system::durable::rename(&layout.job(), &layout.damaged_job());
                if let Err(error) = aside {
                    log::error!("cannot put {} aside: {error}", layout.job().display());
                }
            }
        }
        if let Some(job) = &self.job {
            log::info!("job {} was {}", job.id, job.state());
            self.set_start(job.order.start_at);
        }
        self.count_for_job();
        self.proceed();
    }

    /// Notes when a job starts, by a clock that does not jump.
    pub(super) fn set_start(&mut self, start_at: u64) {
        let wait = start_at.saturating_sub(clock::now()).min(MAX_POLICY);
        self.timers.job_start = Instant::now().checked_add(Duration::from_secs(wait));
    }

    /// Counts what is sent and received for the job, once it has begun.
    pub(super) fn count_for_job(&self) {
        let begun = |job: &&Job| job.state() != State::Accepted;
        if let Some(job) = self.job.as_ref().filter(begun) {
            self.traffic
                .begin_job(job.id, job.bytes_used, job.order.budget);
        }
    }

    /// Follows the engine's steps until one takes time, unless a task is under way.
    pub(super) fn proceed(&mut self) {
        while self.worker.is_none() && !self.rebooting {
            let boot = self.boot_state();
            let step = plan(self.found(boot.as_ref()));
            if !self.follow(step) {
                return;
            }
        }
    }

    fn boot_state(&self) -> Option<BootState> {
        let state = self.job.as_ref().map(Job::state);
        if !needs_boot_state(state, self.lost, self.command_line.reason) {
            return None;
        }
        boot::read(&self.settings.boot).unwrap_or_else(|error| {
            log::error!("cannot read the boot state: {error}");
            None
        })
    }

    fn found<'a>(&'a self, boot: Option<&'a BootState>) -> Found<'a> {
        let layout = &self.settings.layout;
        let job = self.job.as_ref();
        Found {
            job,
            known: job.and_then(|job| self.outbox.result(job.id)),
            now: clock::now(),
            waits: self.timers.job_start.is_some_and(|at| at > Instant::now()),
            part: job.map_or(Part::None, |job| part(&layout.part(job.id))),
            candidate: layout.candidate().exists(),
            backup: job.is_some_and(|job| layout.backup(job.id).exists()),
            boot,
            // The version says nothing about a kernel alone; there the boot state must do.
            runs_ordered: job.is_some_and(|job| {
                job.order.kind == Kind::Kernel || job.order.version == self.running.release.version
            }),
            recovery: self.running.recovery.as_ref(),
            reason: self.command_line.reason,
        }
    }

    /// Follows one step. Returns whether to ask for the next one.
    pub(super) fn follow(&mut self, step: Step) -> bool {
        log::debug!("next: {step:?}");
        match step {
            Step::Rest => false,
            Step::Enter(state) => self.enter(state),
            Step::Run(work) => self.run_task(work),
            Step::Arm(operation) => self.arm(operation),
            Step::Reboot => self.reboot_for_job(),
            Step::Confirmed => self.confirmed(),
            Step::NoteRecovery => self.note_recovery(),
            Step::AskForCheck => self.ask_for_check(),
            Step::KeepRecovery(reason) => self.keep_recovery(reason),
            Step::GiveUp(failure) => {
                if let Err(error) = boot::settle(&self.settings.boot, self.command_line.kernel) {
                    log::error!("cannot clear the upgrade flag: {error}");
                }
                self.finish(failure.result())
            }
            Step::Finish(result) => self.finish(result),
            Step::MoveToOutbox => self.move_to_outbox(),
        }
    }

    /// Moves the job on. If that cannot be saved, the job ends as long as nothing has changed;
    /// later it goes on, since RecoveryOS copes with an older job file.
    fn enter(&mut self, state: State) -> bool {
        let kept = self.change_state(|job| engine::enter(job, state));
        match kept || !(state.is_preparing() || state == State::Armed) {
            true => true,
            false => {
                let text = "the job's state cannot be kept";
                self.finish(Failure::storage(text, "see the log").result())
            }
        }
    }

    /// Notes that the new OS is to be taken back.
    pub(super) fn roll_back(&mut self, reason: Reason) {
        self.change_state(|job| {
            // RecoveryOS was reached: its reboots are counted anew.
            job.reboots = 0;
            job.roll_back(reason)
        });
    }

    /// Asks for the step again later, each time after a longer pause. Always returns false: until
    /// then nothing is done.
    pub(super) fn retry_later(&mut self) -> bool {
        self.timers.retry = Instant::now().checked_add(self.retry.next());
        false
    }

    /// Changes the job's state, saves and reports it. Returns false if that is refused or cannot be
    /// saved.
    fn change_state(
        &mut self,
        change: impl FnOnce(&mut Job) -> Result<(), TransitionError>,
    ) -> bool {
        let Some(job) = &mut self.job else {
            return false;
        };
        if let Err(error) = change(job) {
            log::error!("job {}: {error}", job.id);
            return false;
        }
        log::info!("job {}: {}", job.id, job.state());
        self.bytes = None;
        if job.state() == State::Downloading {
            self.count_for_job();
        }
        let saved = self.save_job();
        self.send_progress(false, QoS::AtLeastOnce);
        saved
    }

    fn confirmed(&mut self) -> bool {
        let Some(job) = &self.job else {
            return false;
        };
        let layout = &self.settings.layout;
        if let Err(error) = promote(layout, job.order.kind) {
            // Without it a later return would bring an older OS; the upgrade itself is done.
            log::error!("the package cannot be kept for a later return: {error}");
        }
        let step = confirmed(job, brings_recovery(&layout.installed()));
        self.packages = kept(layout);
        // Before the result, with which the station chooses the next job's file.
        self.send_heartbeat();
        self.follow(step)
    }
}

/// Returns how much of a package was fetched; in doubt [`Part::Begun`], and the download finds out.
fn part(path: &std::path::Path) -> Part {
    match path.exists() {
        true => Partial::found(path).unwrap_or(Part::Begun),
        false => Part::None,
    }
}
