//! The end of a job: its one result moves to the outbox, its files on mnt go.

use std::io;
use std::time::Instant;

use dau_handoff::{JobResult, Layout};
use dau_model::Outcome;

use super::Daemon;

impl Daemon {
    /// Gives the job its one result, and leaves a task that is still under way to itself. Returns
    /// true where there is a job: the result is to move to the outbox.
    pub(super) fn finish(&mut self, result: JobResult) -> bool {
        let Some(job) = &mut self.job else {
            return false;
        };
        match result.outcome {
            Outcome::Success => log::info!("job {}: {}", job.id, result.outcome),
            outcome => log::error!("job {}: {outcome}: {}", job.id, result.reason.message),
        }
        job.finish(result);
        self.worker = None;
        self.timers.cancelled = None;
        self.timers.stall = None;
        self.timers.job_start = None;
        self.bytes = None;
        true
    }

    /// Adds the running versions to the result, moves it to the outbox and reports it. Always
    /// returns false: nothing follows. An OS that is still on trial then proves itself in the next
    /// boot, without a job that says what is expected of it.
    pub(super) fn move_to_outbox(&mut self) -> bool {
        self.note_spent();
        let Some(mut job) = self.job.take() else {
            return false;
        };
        if let Some(record) = &mut job.recovery {
            record.version_after = self.running.recovery_version();
        }
        if let Some(result) = job.result_mut() {
            let running = &self.running;
            let version = || running.release.version.clone();
            result.version_after.get_or_insert_with(version);
            result
                .kernel_after
                .get_or_insert_with(|| running.kernel.clone());
        }
        let taken = self.outbox.take(&job).or_else(|error| {
            log::warn!(
                "cannot keep the result of job {}: {error:#}; making room",
                job.id
            );
            self.clean_up(None);
            self.outbox.take(&job)
        });
        match taken {
            Ok(()) => {
                self.traffic.end_job();
                self.clean_up(None);
                self.repeat.reset();
                self.timers.retry = None;
            }
            Err(error) => {
                log::error!("cannot keep the result of job {}: {error:#}", job.id);
                // What is reported is over, whatever happens: also after a restart.
                if job.save(&self.settings.layout.job()).is_ok() {
                    self.send_report(&job);
                }
                self.timers.retry = Instant::now().checked_add(self.repeat.next());
                self.job = Some(job);
            }
        }
        self.send_results();
        false
    }

    /// Removes files that no job needs any more.
    pub(super) fn clean_up(&self, current: Option<i64>) {
        let layout = &self.settings.layout;
        let cleaned = dau_system::durable::remove(&layout.candidate())
            .and_then(|()| remove_unfinished(layout, current))
            .and_then(|()| remove_old_backups(layout, self.settings.backups))
            .and_then(|()| dau_system::durable::remove(&layout.rollback_tries()));
        if let Err(error) = cleaned {
            log::warn!("cannot clean up {}: {error}", layout.root().display());
        }
    }
}

/// Removes unfinished downloads but that of the current job.
fn remove_unfinished(layout: &Layout, current: Option<i64>) -> io::Result<()> {
    let part = current.map(|id| layout.part(id));
    let note = part.as_deref().map(Layout::part_note);
    for path in layout.unfinished()? {
        if ![&part, &note].contains(&&Some(path.clone())) {
            dau_system::durable::remove(&path)?;
        }
    }
    Ok(())
}

/// Keeps the newest backups: a backup outlives its job.
fn remove_old_backups(layout: &Layout, keep: usize) -> io::Result<()> {
    let backups = layout.all_backups()?;
    let excess = backups.len().saturating_sub(keep);
    for (tar, digest_file) in backups.iter().take(excess) {
        dau_system::durable::remove(digest_file)?;
        dau_system::durable::remove(tar)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        (dir, layout)
    }

    #[test]
    fn leftovers_go_and_what_is_needed_stays() {
        let (_dir, layout) = layout();
        let (current, other) = (layout.part(2), layout.part(-1));
        let kept = [
            current.clone(),
            Layout::part_note(&current),
            layout.installed(),
        ];
        let left = [
            other.clone(),
            Layout::part_note(&other),
            Layout::part_note(&layout.part(3)),
        ];
        for path in kept.iter().chain(&left) {
            fs::write(path, "").unwrap();
        }
        remove_unfinished(&layout, Some(2)).unwrap();
        assert!(kept.iter().all(|path| path.exists()) && !left.iter().any(|path| path.exists()));
        remove_unfinished(&layout, None).unwrap();
        assert_eq!(kept.map(|path| path.exists()), [false, false, true]);
    }

    #[test]
    fn the_newest_backups_stay() {
        let (_dir, layout) = layout();
        for (job, seconds) in [(9, 1), (7, 2), (8, 3)] {
            fs::write(layout.backup_digest(job), "").unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            let tar = fs::File::create(layout.backup(job)).unwrap();
            tar.set_modified(time).unwrap();
        }
        remove_old_backups(&layout, 2).unwrap();
        let left = [9, 7, 8].map(|job| {
            (
                layout.backup(job).exists(),
                layout.backup_digest(job).exists(),
            )
        });
        assert_eq!(left, [(false, false), (true, true), (true, true)]);
    }
}
