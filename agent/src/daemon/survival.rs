//! Guards against work that ends the agent, stands still, or does not stop when it is asked to.

use std::time::{Duration, Instant};

use dau_model::Word;

use super::Daemon;
use crate::attempts::{begin, boot_id, MAX_ENDS};
use crate::failure::Failure;

/// Pause between two looks at whether the task stands still.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Daemon {
    /// Notes on mnt that work on the job begins. The error is the end of the job instead.
    pub(super) fn begin_work(&mut self) -> Result<(), Failure> {
        let layout = &self.settings.layout;
        let Some(job) = &mut self.job else {
            return Ok(());
        };
        let bytes = [layout.part(job.id), layout.rebuilt(job.id)].map(|path| {
            let length = path.metadata().map(|file| file.len());
            length.unwrap_or(0)
        });
        let bytes = bytes.into_iter().fold(0, u64::saturating_add);
        let state = job.state();
        let Some(next) = begin(job.work.as_ref(), &boot_id(), bytes) else {
            let text = format!(
                "the agent ended or stood still {MAX_ENDS} times while the job was {state}: \
                 see its log, and the kernel's, for why"
            );
            return Err(Failure::failed(Word::Attempts, text));
        };
        if next.ends > 0 || next.boots > 0 {
            log::warn!(
                "job {} was {state} when the agent ended; it is tried again",
                job.id
            );
        }
        job.work = Some(next);
        let kept = job.save(&layout.job());
        // What has its result goes on without: nothing depends on it any more.
        let finished = job.result().is_some();
        match kept {
            Err(error) if !finished => {
                Err(Failure::storage("the job's state cannot be kept", error))
            }
            _ => Ok(()),
        }
    }

    /// Takes the note back: the agent has survived the work, or ends as it was asked to.
    pub(super) fn survive_work(&mut self) {
        self.timers.stall = None;
        let noted = self.job.as_mut().and_then(|job| job.work.take());
        if noted.is_some() {
            self.save_job();
        }
    }

    /// Sets the timer for the next look at the task.
    pub(super) fn watch_work(&mut self) {
        let every = LOOK_EVERY.min(self.settings.watchdog.work_timeout);
        self.timers.stall = Instant::now().checked_add(every);
    }

    /// Ends the agent if the task stands still: a thread cannot be ended alone. The agent is
    /// started again and counts it.
    pub(super) fn look_for_stall(&mut self) {
        let Some(worker) = &self.worker else { return };
        let still = worker.handle.still();
        if still < self.settings.watchdog.work_timeout {
            return self.watch_work();
        }
        log::error!(
            "the job's work stands still for {} s: starting anew",
            still.as_secs()
        );
        std::process::abort();
    }

    /// Ends the job without the worker, which was asked to stop and does not. Its later events are
    /// ignored.
    pub(super) fn leave_worker(&mut self) {
        let failure = self.worker.as_ref().map(|worker| worker.handle.check());
        if let Some(Err(failure)) = failure {
            log::warn!("the work does not stop and is left to itself");
            self.finish(failure.result());
            self.proceed();
        }
    }

    /// Returns the size in bytes of the partition of the root filesystem; `None` if none is found.
    pub(super) fn rootfs_size(&self) -> Option<u64> {
        let size = crate::space::partition(self.settings.rootfs_device.as_deref());
        size.map_err(|error| log::warn!("the size of rootfs is not known: {error}"))
            .ok()
    }
}
